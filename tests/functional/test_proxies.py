"""Every proxy with its shipped configuration, in front of a service."""

from __future__ import annotations

from pathlib import Path

from tests.functional import wire
from tests.functional.proxies import contract, envoy, shipped, variants
from tests.functional.proxies.around import gateway
from tests.functional.proxies.contract import GOOD, LARGE
from tests.functional.proxies.features import instead


class NginxTests(contract.ProxyContract):
    """nginx."""

    name = "nginx"
    kind = shipped.Nginx

    @instead("no: above 1 MB a 413, unless `client_max_body_size` is raised")
    def test_large_upload(self) -> None:
        """With a larger C{client_max_body_size} an upload reaches the service."""
        fields = [("Content-Length", str(LARGE))]
        self.assertEqual(self.ask("/", GOOD, fields, "POST").status, 413)
        changes = {"server_name _;": "server_name _; client_max_body_size 0;"}
        place = (Path(self.mktemp()), self.around.door.port, gateway().backend.port)
        nginx = shipped.Nginx(*place, changes).start()
        self.addCleanup(nginx.stop)
        self.port = nginx.port
        super().test_large_upload()


class CaddyTests(contract.ProxyContract):
    """Caddy."""

    name = "Caddy"
    kind = shipped.Caddy
    outage = 502
    late = 504


class HAProxyTests(contract.ProxyContract):
    """HAProxy."""

    name = "HAProxy"
    kind = shipped.HAProxy


class TraefikTests(variants.WaitsThirtySeconds):
    """Traefik."""

    name = "Traefik"
    kind = shipped.Traefik
    outage = 500


class ApacheTests(variants.WaitsThirtySeconds):
    """Apache, which asks by FastCGI."""

    name = "Apache (FastCGI)"
    kind = shipped.Apache
    outage = 500
    underscores = 403

    @instead("no: a connection for each question")
    def test_connections_to_the_gateway(self) -> None:
        """Apache opens a connection for each authentication request."""
        self.assertEqual(self.opened(20), 20)

    @instead("no: 403, as lines of answers are limited to 8 KiB")
    def test_large_jwt_T62(self) -> None:
        """A JWT that does not fit into a line of Apache is refused, and no part of it leaks."""
        answer = self.ask(credential=wire.basic("member", "many"))
        self.assert_refused(answer, 403)


class ApacheByLuaTests(contract.ProxyContract):
    """Apache, which asks by a script in Lua."""

    name = "Apache (Lua)"
    kind = shipped.ApacheByLua
    underscores = 403

    @instead("no: a connection for each question")
    def test_connections_to_the_gateway(self) -> None:
        """The script opens a connection for each authentication request."""
        self.assertEqual(self.opened(20), 20)


class EnvoyTests(contract.ProxyContract):
    """Envoy, which asks by gRPC."""

    name = "Envoy (gRPC)"
    kind = envoy.Envoy
    underscores = 400


class EnvoyByHttpTests(contract.ProxyContract):
    """Envoy, which asks by HTTP."""

    name = "Envoy (HTTP)"
    kind = envoy.EnvoyByHttp
    underscores = 400

    @instead("503 without `Retry-After`")
    def test_provider_down_T70(self) -> None:
        """Envoy makes a 503 of its own of that of the gateway."""
        answer = self.ask(credential=wire.basic("unavailable", self.name))
        self.assert_refused(answer, 503)
        self.assertIsNone(answer.header("Retry-After"))
