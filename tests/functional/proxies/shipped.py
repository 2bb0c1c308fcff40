"""The proxies with their shipped configurations, of which only addresses are changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from attrs import define, field

from tests.functional import servers
from tests.functional.daemon import absolute, free_port, needed

ETC = Path(__file__).resolve().parents[3] / "etc"

_ADDRESS = re.compile(r"(127\.0\.0\.1(?::|\", |, port_value: )|http://:)(80|8000|8080|9001|9191)\b")
"""Matches the ports of the addresses in the shipped configurations."""


@define(eq=False)
class Proxy:
    """
    A proxy.

    @ivar gateway: the port at which it asks.
    @ivar backend: the port of the service behind it.
    @ivar changes: further texts to replace, each of which must be there once.
    """

    server: ClassVar[str]
    """The script below F{tests/servers}."""

    variable: ClassVar[str] = ""
    """The variable that names the configuration to the script."""

    command: ClassVar[str | None] = None
    """The program of a Debian package; without it the script installs what is missing."""

    files: ClassVar[Sequence[str]]
    """The configuration below F{etc}, first the file that the proxy is started with."""

    entrance: ClassVar[str] = "http"
    """Where it asks: C{http}, C{grpc} or C{fastcgi}."""

    impatient: ClassVar[Mapping[str, str]] = {}
    """The change after which it waits one second for the gateway; empty if that is impossible."""

    folder: Path = field(converter=absolute)
    gateway: int
    backend: int
    changes: Mapping[str, str] = field(factory=dict)
    port: int = field(factory=free_port)

    def start(self) -> Self:
        if self.command:
            needed(self.command)
        self.folder.mkdir(parents=True, exist_ok=True)
        for file, text in self.texts().items():
            (self.folder / file).write_text(text)
        first = self.folder / Path(self.files[0]).name
        place = (str(self.folder), str(self.port))
        servers.run(self.server, "start", *place, **{self.variable: str(first)})
        return self

    def stop(self) -> None:
        servers.run(self.server, "stop", str(self.folder))

    def texts(self) -> dict[str, str]:
        """Return the content of each file of the configuration."""
        texts = {Path(file).name: (ETC / file).read_text() for file in self.files}
        for old, new in self.changes.items():
            [changed] = [name for name, text in texts.items() if text.count(old) == 1]
            texts[changed] = texts[changed].replace(old, new)
        return {name: self._placed(text) for name, text in texts.items()}

    def _placed(self, text: str) -> str:
        """Return a text with the addresses of the test, and the folder of the test."""
        ports = {"80": self.port, "8000": self.backend}

        def port(found: re.Match[str]) -> str:
            return f"{found[1]}{ports.get(found[2], self.gateway)}"

        return _ADDRESS.sub(port, text.replace(f"/etc/{self.server}/", f"{self.folder}/"))


class Nginx(Proxy):
    """nginx with C{auth_request}."""

    server = command = "nginx"
    variable = "NGINX_SITE"
    files = ("nginx/authotron.conf",)
    impatient: ClassVar = {"proxy_read_timeout 15s;": "proxy_read_timeout 1s;"}


class Caddy(Proxy):
    """Caddy with the long form of C{forward_auth}."""

    server = command = "caddy"
    variable = "CADDY_CONFIG"
    files = ("caddy/Caddyfile",)
    impatient: ClassVar = {"response_header_timeout 15s": "response_header_timeout 1s"}


class HAProxy(Proxy):
    """HAProxy with a script in Lua."""

    server = command = "haproxy"
    variable = "HAPROXY_CONFIG"
    files = ("haproxy/haproxy.cfg", "haproxy/authotron.lua")
    impatient: ClassVar = {"local TIMEOUT = 15000": "local TIMEOUT = 1000"}


class Traefik(Proxy):
    """Traefik with C{forwardAuth}."""

    server = "traefik"
    variable = "TRAEFIK_CONFIG"
    files = ("traefik/traefik.yaml", "traefik/authotron.yaml")


class Apache(Proxy):
    """Apache with C{mod_authnz_fcgi}."""

    server = "apache"
    variable = "APACHE_SITE"
    command = "apache2"
    files: ClassVar[Sequence[str]] = ("apache/authotron.conf",)
    entrance = "fastcgi"

    def log(self) -> str:
        return (self.folder / "apache-error.log").read_text()


class ApacheByLua(Apache):
    """Apache with a script in Lua in place of C{mod_authnz_fcgi}, as the page shows it."""

    files = ("apache/authotron.conf", "apache/authotron.lua")
    entrance = "http"
    impatient: ClassVar = {"local SECONDS = 15": "local SECONDS = 1"}

    def texts(self) -> dict[str, str]:
        texts = super().texts()
        [site, _] = texts
        for old, new in _directives_for_lua():
            old_text = old.replace("9001", str(self.gateway))
            assert texts[site].count(old_text) == 1, f"{old!r} is not there once"
            texts[site] = texts[site].replace(old_text, new)
        texts[site] = texts[site].replace("/etc/apache2/", f"{self.folder}/")
        return texts


def _directives_for_lua() -> Iterator[tuple[str, str]]:
    """Yield what F{docs/apache.md} replaces in the example, and by what."""
    page = (ETC.parent / "docs/apache.md").read_text()
    part = page.partition("## Without mod_authnz_fcgi")[2].partition("\n## ")[0]
    for block in re.findall(r"```apache\n(.*?)```", part, re.DOTALL):
        old, _, new = block.partition("# becomes\n")
        yield old, new
