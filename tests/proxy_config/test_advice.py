"""What an operator is warned of when a proxy is configured."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from authotron.proxy_config import setting
from authotron.proxy_config.addresses import Address
from authotron.proxy_config.advice import advice
from authotron.proxy_config.setting import Deployment
from tests.proxy_examples import GIVEN, gateway

HERE: dict[str, Any] = {"host": "127.0.0.1", "port": 8080}


class AdviceTests(SynchronousTestCase):
    """The warnings about a section C{server}."""

    def warnings(
        self,
        proxy: str,
        decision: float = 5,
        deployment: Deployment | None = None,
        **server: Any,
    ) -> str:
        built = gateway(server=server)
        found = evolve(setting.make(built, proxy, deployment or Deployment()), decision=decision)
        return "\n".join(advice(proxy, built.config, found))

    def test_nothing(self) -> None:
        """The configuration of the examples causes no warning."""
        server = GIVEN["server"]
        for proxy in setting.BY_HTTP:
            self.assertEqual(self.warnings(proxy, **server), "", proxy)

    def test_open(self) -> None:
        """A gateway that every machine can ask is reported, whatever protocol it speaks there."""
        for host in ("0.0.0.0", "::"):
            shown = self.warnings("nginx", **{**HERE, "host": host})
            self.assertIn(f"server.host: {host}, so every machine can ask", shown)
        for protocol in ("", "grpc:", "fastcgi:"):
            shown = self.warnings(
                "nginx", listen=["tcp:8080:interface=127.0.0.1", f"{protocol}tcp:9001"]
            )
            self.assertIn("server.listen[1]: ", shown)
            self.assertIn(" at every address", shown)

    def test_not_trusted(self) -> None:
        """A proxy that the gateway does not trust is reported, with what that means."""
        cases: tuple[tuple[str, dict[str, Any], str], ...] = (
            ("nginx", HERE, "does not contain 127.0.0.1, so what it says"),
            (
                "nginx",
                {"listen": ["unix:/run/a.sock:mode=660"]},
                "does not contain unix, so what it",
            ),
            ("nginx", {**HERE, "host": "::1"}, "does not contain ::1"),
            ("caddy", {**HERE, "host": "10.0.0.1"}, ""),
            (
                "envoy",
                {**HERE, "listen": ["grpc:tcp:9191:interface=127.0.0.1"]},
                "does not contain 127.0.0.1, so its connections are closed unread",
            ),
        )
        for proxy, server, expected in cases:
            with self.subTest(f"{proxy} {server}"):
                shown = self.warnings(proxy, **server, trusted_proxies=["10.0.0.0/8"])
                self.assertIn(expected, shown)
                self.assertEqual("server.trusted_proxies" in shown, bool(expected))

    def test_other_machine(self) -> None:
        """A proxy that asks from another machine needs a network that is not this machine."""
        shown = self.warnings("haproxy", **{**HERE, "host": "10.0.0.1"})
        self.assertIn("does not contain the address of haproxy", shown)

    def test_no_endpoint(self) -> None:
        """A proxy that can ask nowhere, or not by its best protocol, is reported."""
        socket: Any = {"listen": ["unix:/run/a.sock:mode=660"]}
        self.assertIn(
            "no endpoint for HTTP at which traefik can", self.warnings("traefik", **socket)
        )
        self.assertIn("no endpoint for FastCGI", self.warnings("apache", **HERE))
        self.assertIn("no endpoint for gRPC", self.warnings("envoy", **HERE))
        strange: Any = {"listen": ["unix:/run/a;b.sock:mode=660"]}
        self.assertIn("no endpoint for HTTP at which nginx can", self.warnings("nginx", **strange))

    def test_contract(self) -> None:
        """A proxy whose contract is not among those that may ask is reported."""
        shown = self.warnings("caddy", **HERE, contracts=["nginx"])
        self.assertIn("server.contracts: does not contain caddy", shown)
        self.assertEqual(self.warnings("nginx", **HERE, contracts=["nginx"]), "")

    def test_time(self) -> None:
        """A decision that takes longer than a proxy can wait is reported."""
        shown = self.warnings("traefik", 30, **HERE)
        self.assertIn("traefik gives up after 30 s, which cannot be configured", shown)
        self.assertEqual(self.warnings("nginx", 300, **HERE), "")

    def test_systemd(self) -> None:
        """Which sockets systemd opens is not known, so the usual ones are named."""
        shown = self.warnings("nginx", listen=["systemd"])
        self.assertIn("127.0.0.1:8080 is that of the Debian package", shown)

    def test_tls(self) -> None:
        """A certificate that must name an address, and a proxy without TLS, are reported."""
        other = Deployment(listen=Address("10.0.0.9", 80), gateway=Address("10.0.0.1", 8443))
        shown = self.warnings("nginx", **HERE, deployment=other, trusted_proxies=["10.0.0.0/8"])
        self.assertIn("--listen: 10.0.0.9:80 is without TLS", shown)

    def test_credentials(self) -> None:
        """A credential that the proxy cannot remove is reported."""
        for proxy, credentials, by_http, expected in (
            ("traefik", {"cookie": "__Host-s"}, False, "traefik cannot remove one cookie"),
            ("envoy", {"cookie": "__Host-s"}, True, "by HTTP; let it ask by gRPC"),
            ("envoy", {"cookie": "__Host-s"}, False, ""),
            ("nginx", {"cookie": "__Host-s"}, False, ""),
            ("nginx", {"query": "key"}, False, "the parameter key reaches the backend"),
        ):
            with self.subTest(f"{proxy} {credentials}"):
                store = {"type": "memory", "credentials": credentials}
                server: Any = {"server": HERE} if by_http else {}
                built = gateway(store=store, **server)
                found = setting.make(built, proxy, Deployment())
                shown = "\n".join(advice(proxy, built.config, found))
                self.assertIn(expected, shown)
                self.assertEqual("credentials" in shown, bool(expected))
