"""The configurations of C{authotron proxy-config}, as the checks of the real proxies judge them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.certificates import Authority
from tests.cli.cases import CommandCase
from tests.functional import servers
from tests.functional.daemon import needed

SECONDS = 60.0
MODULES = Path("/usr/lib/apache2/modules")
HERE = {"host": "127.0.0.1", "port": 8080}
SERVERS: Mapping[str, dict[str, Any]] = {
    "ports": {
        **HERE,
        "listen": ["fastcgi:tcp:9001:interface=127.0.0.1", "grpc:tcp:9191:interface=127.0.0.1"],
    },
    "http": HERE,
    "ipv6": {
        "host": "::1",
        "port": 8080,
        "listen": ["fastcgi:tcp6:9001:interface=\\:\\:1", "grpc:tcp6:9191:interface=\\:\\:1"],
    },
    "sockets": {
        "host": ...,
        "port": ...,
        "listen": ["unix:/run/a.sock:mode=660", "grpc:unix:/run/g.sock:mode=660"],
    },
    "profile": {
        **HERE,
        "answers": {
            "profile": "remote-user",
            "contracts": {"nginx": {"error_headers": True, "max_head_bytes": 200_000}},
        },
    },
    "jwt": {
        **HERE,
        "answers": {"profile": "jwt"},
        "listen": ["fastcgi:tcp:9001:interface=127.0.0.1"],
    },
    "forwarded": {**HERE, "forwarded": {"host": "Forwarded", "address": "Forwarded"}},
}
"""Sections C{server} of the gateway."""

OPTIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("--backend", "[::1]:8000", "--listen", "[::1]:8888", "--host", "app.example.org"),
    ("--gateway", "localhost:8443", "--backend", "localhost:8000", "--listen", "127.0.0.1:8888"),
)


METADATA = {
    "server": False,
    "resources": [
        {
            "resource": f"https://app.example.org{path}",
            "authorization_servers": ["https://login.example.org"],
        }
        for path in ("", "/v1/data.x")
    ],
}
"""Protected resources, whose metadata the proxy passes on to the gateway."""

MORE: tuple[dict[str, Any], ...] = (
    {},
    {
        "cors": {"origins": ["https://app.example.org", "https://b.example.org:8443"]},
        "store": {
            "type": "memory",
            "compat": False,
            "credentials": [{"header": "X-API-Key"}, {"cookie": "__Host-session"}, {"cookie": "b"}],
        },
        "oauth": METADATA,
    },
    {"cors": {"pass_preflights": True}, "oauth": METADATA},
)
"""Other sections of the gateway's configuration, which go with the options."""


def nginx(folder: Path) -> list[str]:
    """Return the command that checks a configuration of nginx."""
    needed("nginx")
    whole = f"events {{ }} http {{ include {folder}/authotron.conf; }}"
    (folder / "nginx.conf").write_text(f"pid {folder}/pid; error_log {folder}/log; {whole}")
    return ["nginx", "-t", "-e", "log", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def apache(folder: Path) -> list[str]:
    """Return the command that checks a configuration of Apache."""
    needed("apache2")
    names = (
        "mpm_event authn_core authz_core authz_user authnz_fcgi headers setenvif rewrite proxy "
        "proxy_http lua"
    )
    modules = [f"LoadModule {each}_module {MODULES}/mod_{each}.so" for each in names.split()]
    own = ["ServerName localhost", f"ErrorLog {folder}/log", f"Include {folder}/authotron.conf"]
    (folder / "apache.conf").write_text("\n".join([*modules, *own, ""]))
    return ["apache2", "-t", "-d", str(folder), "-f", str(folder / "apache.conf")]


def caddy(folder: Path) -> list[str]:
    """Return the command that checks a configuration of Caddy."""
    needed("caddy")
    return ["caddy", "validate", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def haproxy(folder: Path) -> list[str]:
    """Return the command that checks a configuration of HAProxy."""
    needed("haproxy")
    return ["haproxy", "-c", "-W", "-f", str(folder / "haproxy.cfg")]


def envoy(folder: Path) -> list[str]:
    """Return the command that checks a configuration of Envoy."""
    servers.run("envoy", "install", str(folder))
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "authotron-tests"
    [*_, program] = sorted(each for each in home.glob("envoy*/envoy/_bin/envoy") if each.is_file())
    return [str(program), "--mode", "validate", "--config-path", str(folder / "authotron.yaml")]


CHECKS: tuple[Callable[[Path], list[str]], ...] = (nginx, apache, caddy, haproxy, envoy)


class ValidTests(CommandCase):
    """Every configuration is valid."""

    def written(self, proxy: str) -> Iterator[tuple[str, Path]]:
        """Yield the folders of configurations of a proxy, with what they were made of."""
        for name, server in (*SERVERS.items(), ("tls", self.by_tls())):
            for place, options in enumerate(OPTIONS):
                folder = (self.folder / f"{proxy}-{name}-{place}").absolute()
                config = self.file(server=server, **MORE[place])
                words = ("proxy-config", proxy, "-c", config, *options)
                done = self.run_command(*words, "--write", str(folder))
                self.assertEqual(done.exit_code, 0, done.output)
                yield f"{proxy}, {name}, {options}", folder

    def by_tls(self) -> dict[str, Any]:
        """Return a section C{server} with endpoints that expect TLS."""
        file = Authority(self.folder.absolute() / "tls").found().issue("localhost")
        rest = f"interface=127.0.0.1:privateKey={file}:certKey={file}"
        return {
            "host": ...,
            "port": ...,
            "listen": [f"ssl:8443:{rest}", f"grpc:ssl:9443:{rest}"],
        }

    def test_checked(self) -> None:
        """The checks of nginx, Apache, Caddy, HAProxy and Envoy accept all files."""
        for check in CHECKS:
            for title, folder in self.written(check.__name__):
                with self.subTest(title):
                    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
                    environment["PATH"] += ":/usr/sbin:/sbin"
                    done = subprocess.run(
                        check(folder),
                        check=False,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        capture_output=True,
                        text=True,
                        timeout=SECONDS,
                    )
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    self.assertNotIn("warning", (done.stdout + done.stderr).lower())

    def test_traefik(self) -> None:
        """The files of Traefik, which has no such check, are YAML, and name each other."""
        for title, folder in self.written("traefik"):
            with self.subTest(title):
                static = yaml.safe_load((folder / "traefik.yaml").read_text())
                dynamic = Path(static["providers"]["file"]["filename"])
                self.assertEqual(dynamic, folder / "authotron.yaml")
                http = yaml.safe_load(dynamic.read_text())["http"]
                used = {
                    each for router in http["routers"].values() for each in router["middlewares"]
                }
                self.assertEqual(used, {*http["middlewares"]})
