"""
Write the examples of proxies in F{etc/} anew, as C{authotron proxy-config} prints them.

C{make proxy-examples} runs this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from authotron.config.check import Config, check
from authotron.proxy_config import rendering
from authotron.proxy_config.setting import Address, setting

ROOT = Path(__file__).resolve().parents[1]
GIVEN = {
    "version": "2.0.0",
    "server": {
        "host": "127.0.0.1",
        "port": 8080,
        "listen": [
            "fastcgi:tcp:9001:interface=127.0.0.1",
            "grpc:tcp:9191:interface=127.0.0.1",
        ],
    },
    "include_legacy_headers": True,
    "jwt": {"iss": "authotron", "secret": "only for the examples of proxies"},
    "providers": [{"type": "plain", "name": "local", "realm": "local", "users": []}],
}
"""The configuration of the gateway that the examples are made for."""


def configuration() -> Config:
    """Return the configuration of the gateway that the examples are made for."""
    return check(GIVEN)


def examples() -> Iterator[tuple[Path, str]]:
    """Yield the path and the contents of every example."""
    known = setting(configuration(), Address("127.0.0.1", 80), Address("127.0.0.1", 8000), "")
    for proxy in rendering.PROXIES:
        for name, text in rendering.files(proxy, known).items():
            yield ROOT / "etc" / proxy / name, text


if __name__ == "__main__":
    for path, text in examples():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
