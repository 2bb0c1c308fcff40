"""Clients find the metadata of a service (RFC 9728) through every proxy."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.defer import execute
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import check
from authotron.daemon.compose import compose
from authotron.net.world import World
from authotron.proxy_config import rendering, setting
from authotron.proxy_config.addresses import Address
from authotron.proxy_config.setting import Deployment
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import clock_at
from tests.functional import wire
from tests.functional.daemon import Daemon, configuration, free_port
from tests.functional.proxies import shipped
from tests.functional.proxies.shipped import Proxy
from tests.functional.proxy import Backend
from tests.waiting import DEADLINE

HOST = "app.example.org"
METADATA = "/.well-known/oauth-protected-resource"
OAUTH = {
    "server": False,
    "resources": [
        {
            "resource": f"https://{HOST}{path}",
            "authorization_servers": ["https://login.example.org"],
        }
        for path in ("", "/deep/path")
    ],
}


@define(eq=False)
class Generated(Proxy):
    """
    A proxy with the configuration that C{authotron proxy-config} writes.

    @cvar host: the host of the service in the options; every host if empty.
    """

    host: ClassVar[str] = HOST

    config: Mapping[str, Any] = field(factory=dict, kw_only=True)

    def texts(self) -> dict[str, str]:
        found = check.check(self.config)
        gateway = compose(found, World(clock_at(0), execute), Metrics())
        deployment = Deployment(
            Address("127.0.0.1", self.port),
            Address("127.0.0.1", self.backend),
            self.host,
            folder=str(self.folder),
        )
        return rendering.files(self.server, setting.make(gateway, self.server, deployment))


class Nginx(Generated, shipped.Nginx):
    pass


class Caddy(Generated, shipped.Caddy):
    pass


class HAProxy(Generated, shipped.HAProxy):
    pass


class Traefik(Generated, shipped.Traefik):
    host = ""  # the script that starts Traefik waits for an answer about another host


class Apache(Generated, shipped.Apache):
    pass


class Envoy(Generated):
    server = "envoy"
    variable = "ENVOY_CONFIG"
    files = ("envoy/authotron.yaml",)


class ResourceMetadataTests(SynchronousTestCase):
    """What a client without a token gets from a proxy."""

    def start(self, kind: type[Generated], protocol: str) -> int:
        """Start a gateway, a service and a proxy, and return the port of the proxy."""
        folder = Path(mkdtemp())  # the account of Apache must be able to read it
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        listen = [f"{protocol}:tcp:{free_port()}:interface=127.0.0.1"] if protocol else []
        over = {"oauth": OAUTH, "server": {"listen": listen}}
        daemon = Daemon(folder / "gateway")
        config = configuration(daemon.port, daemon.operations, **over)
        daemon.configure(**over).start()
        self.addCleanup(daemon.stop)
        backend = Backend(folder / "backend").start()
        self.addCleanup(backend.stop)
        proxy = kind(folder / "proxy", daemon.port, backend.port, config=config).start()
        self.addCleanup(proxy.stop)
        return proxy.port

    def ask(self, port: int, path: str, credential: str = "", method: str = "GET") -> wire.Answer:
        fields = {"Authorization": credential} if credential else {}
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
            connection.sendall(wire.head(path, fields, method, host=HOST))
            answer = wire.receive(connection, method)
        assert answer is not None
        return answer

    def look(self, kind: type[Generated], protocol: str = "") -> None:
        """Find the metadata through a proxy as a client does: by the challenge of a 401."""
        port = self.start(kind, protocol)
        for path, metadata in (("/x", METADATA), ("/deep/path/x", f"{METADATA}/deep/path")):
            refused = self.ask(port, path)
            self.assertEqual(refused.status, 401)
            challenge = refused.header("WWW-Authenticate")
            self.assertIn(f'resource_metadata="https://{HOST}{metadata}"', challenge or "")
            answer = self.ask(port, metadata)
            self.assertEqual(answer.status, 200, answer.body)
            resource = answer.json()["resource"]
            self.assertEqual(resource, f"https://{HOST}{metadata.removeprefix(METADATA)}")
        good = wire.basic("alice", "wonder")
        self.assertEqual(self.ask(port, "/x", good).status, 200)
        for path in (f"{METADATA}/other", f"{METADATA}x", "/.well-known/openid-configuration"):
            self.assertEqual(self.ask(port, path).status, 401, path)

    def test_nginx_S_METADATA(self) -> None:
        """Nginx."""
        self.look(Nginx)

    def test_caddy_S_METADATA(self) -> None:
        """Caddy."""
        self.look(Caddy)

    def test_haproxy_S_METADATA(self) -> None:
        """HAProxy."""
        self.look(HAProxy)

    def test_traefik_S_METADATA(self) -> None:
        """Traefik."""
        self.look(Traefik)

    def test_apache_S_METADATA(self) -> None:
        """Apache, which asks by FastCGI, or by a script in Lua."""
        for protocol in ("fastcgi", ""):
            self.look(Apache, protocol)

    def test_envoy_S_METADATA(self) -> None:
        """Envoy, which asks by gRPC, or by HTTP."""
        for protocol in ("grpc", ""):
            self.look(Envoy, protocol)
