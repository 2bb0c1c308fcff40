"""
Write the examples of proxies in F{etc/} anew, as C{authotron proxy-config} prints them.

C{make proxy-examples} runs this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import execute
from twisted.internet.task import Clock

from authotron.config.check import check
from authotron.daemon.compose import compose
from authotron.gateway.gateway import Gateway
from authotron.net.world import World
from authotron.proxy_config import rendering, setting
from authotron.proxy_config.setting import Deployment
from authotron.telemetry.metrics import Metrics
from authotron.web.replies import Reply

ROOT = Path(__file__).resolve().parents[1]
GIVEN: dict[str, Any] = {
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


def gateway(**over: Any) -> Gateway[Reply]:
    """Build a gateway of the configuration above, with other sections in place of some."""
    return compose(check({**GIVEN, **over}), World(Clock(), execute), Metrics())


def examples() -> Iterator[tuple[Path, str]]:
    """Yield the path and the contents of every example."""
    whole, by_http = gateway(), gateway(server={"host": "127.0.0.1", "port": 8080})
    for proxy, names in rendering.PROXIES.items():
        files = {
            **rendering.files(proxy, setting.make(by_http, proxy, Deployment())),
            **rendering.files(proxy, setting.make(whole, proxy, Deployment())),
        }
        for name in names:
            yield ROOT / "etc" / rendering.folder_of(proxy) / name, files[name]


if __name__ == "__main__":
    for path, text in examples():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
