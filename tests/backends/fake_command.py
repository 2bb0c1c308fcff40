"""The fake gateway as a command: C{CONFIG}, a configuration whose providers are lists of users."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import yaml

from authotron.client import User
from authotron.client.testing import FakeGateway, SigningKey, serve


def main(path: str) -> None:
    config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    jwt = config["jwt"]
    key = SigningKey("", "HS256", jwt["secret"])
    gateway = FakeGateway(
        issuer=jwt["iss"],
        key=key,
        lifetime=jwt.get("exp", 3600),
        audience=jwt.get("aud") if jwt.get("emit_aud") else None,
    )
    for provider in config["providers"]:
        for each in provider.get("users", ()):
            user = User(provider["realm"], each["username"], tuple(each.get("roles", ())))
            gateway.add_user(user, each["password"])
    with serve(gateway, config["server"]["port"]):
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(sys.argv[1])
