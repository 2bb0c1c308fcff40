"""The contracts of the proxies."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import plugins, section
from authotron.config.server import Forwarded
from authotron.model.errors import ConfigError, Flaw, UnusableFact
from authotron.plugin import trusted_proxies
from authotron.plugin.contract import Contract
from authotron.plugin.fact_sources import Header, Question
from authotron.testing.proxy_contracts import ProxyContract

KNOWN = ("apache", "apisix", "caddy", "envoy", "haproxy", "nginx", "skipper", "traefik")


def make(type_: str, **keys: Any) -> Contract:
    """Build the contract of a proxy."""
    module = plugins.load("contracts", type_, "server.contracts[0]")
    config = section.read(module.Config, {"type": type_, **keys})
    contract: Contract = module.make(config, Forwarded())
    return contract


class ApacheTests(ProxyContract, SynchronousTestCase):
    """Apache httpd with Lua."""

    def contract(self) -> Contract:
        return make("apache")


class ApisixTests(ProxyContract, SynchronousTestCase):
    """APISIX."""

    def contract(self) -> Contract:
        return make("apisix")


class CaddyTests(ProxyContract, SynchronousTestCase):
    """Caddy, in its short and in its long form."""

    def contract(self) -> Contract:
        return make("caddy")


class EnvoyTests(ProxyContract, SynchronousTestCase):
    """Envoy over HTTP."""

    def contract(self) -> Contract:
        return make("envoy")


class HaproxyTests(ProxyContract, SynchronousTestCase):
    """HAProxy with its private prefix."""

    def contract(self) -> Contract:
        return make("haproxy", required=["method", "path"])

    def test_prefix(self) -> None:
        """Facts stand only in headers with the private prefix, which an operator may change."""
        for prefix, keys in (("X-Authotron-", {}), ("X-Mine-", {"prefix": "X-Mine-"})):
            [endpoint] = make("haproxy", **keys).endpoints
            names = {name for each in endpoint.sources.values() for name in each.headers}
            self.assertTrue(all(name.startswith(prefix) for name in names), names)


class NginxTests(ProxyContract, SynchronousTestCase):
    """nginx."""

    def contract(self) -> Contract:
        return make("nginx")

    def test_recorded_paths(self) -> None:
        """The paths of auth-o-tron take GET and HEAD, and nothing behind them."""
        limited = {each.path: each.methods for each in self.contract().endpoints if each.methods}
        self.assertEqual(set(limited), {"/authenticate", "/auth", "/_auth"})
        self.assertEqual({*limited.values()}, {frozenset({"GET", "HEAD"})})


class SkipperTests(ProxyContract, SynchronousTestCase):
    """Skipper with its private prefix."""

    def contract(self) -> Contract:
        return make("skipper")


class TraefikTests(ProxyContract, SynchronousTestCase):
    """Traefik."""

    def contract(self) -> Contract:
        return make("traefik")


class ConfigTests(SynchronousTestCase):
    """What an operator may configure of a contract."""

    def test_every_contract(self) -> None:
        """All contracts are found by name."""
        found = sorted(map(plugins.documented_type, plugins.every("contracts")))
        self.assertEqual(tuple(found), KNOWN)

    def test_other_headers(self) -> None:
        """A fact may stand in another header than usual; host and port stay together."""
        headers = {"path": "X-Original-URL", "host": "X-Original-URL", "namespace": "X-Ns"}
        endpoint = make("nginx", headers=headers).endpoints[0]
        self.assertEqual(endpoint.sources["query"], Header("X-Original-URL"))
        self.assertEqual(endpoint.sources["port"], Header("X-Original-URL"))
        self.assertEqual(endpoint.sources["namespace"], Header("X-Ns"))
        self.assertEqual(endpoint.sources["method"], Header("X-Original-Method"))

    def test_appended_line_stays(self) -> None:
        """Where the proxy appends the path, no header can name another path or method."""
        headers = {"path": "X-Evil", "method": "X-Evil"}
        [endpoint] = make("envoy", headers=headers).endpoints
        names = {name for each in endpoint.sources.values() for name in each.headers}
        self.assertNotIn("X-Evil", names)

    def test_wrong_keys(self) -> None:
        """An unknown fact, or a name that is no header name, is a problem."""
        for keys in (
            {"headers": {"secret": "X-Y"}},
            {"headers": {"path": "X Y"}},
            {"required": ["everything"]},
            {"prefix": "X-"},
        ):
            self.assertRaises(ConfigError, make, "traefik", **keys)


class ValueTests(SynchronousTestCase):
    """Values of headers."""

    def read(self, fact: str, *values: str) -> object:
        question = Question("GET", b"", lambda _: values, None, trusted_proxies.make(["unix"]))
        return Header("X").read(question, fact)

    def flaw(self, fact: str, value: str) -> Flaw:
        error: UnusableFact = self.assertRaises(UnusableFact, self.read, fact, value)
        return error.flaw

    def test_url(self) -> None:
        """A path may stand in a whole URL, whose host is not taken for a part of the path."""
        for value, path, query in (
            ("https://a.org:8443/x/y?z=1", "/x/y", "z=1"),
            ("HTTP://a.org", "/", None),
            ("http://a.org?z", "/", "z"),
            ("/x?http://a.org/y", "/x", "http://a.org/y"),
        ):
            self.assertEqual(self.read("path", value), path)
            self.assertEqual(self.read("query", value), query)
        for value in ("//a.org/x", "ftp://a.org/x", "http:/x", "a.org/x"):
            self.assertIs(self.flaw("path", value), Flaw.MALFORMED)

    def test_scheme_T06(self) -> None:
        """The schemes of WebSockets are those below them."""
        found = [self.read("scheme", value) for value in ("http", "WS", "https", "wss")]
        self.assertEqual(found, ["http", "http", "https", "https"])

    def test_method_T18(self) -> None:
        """A method is kept as it was sent, because methods are case-sensitive."""
        for method in ("GET", "get", "PROPFIND", "M-SEARCH"):
            self.assertEqual(self.read("method", method), method)

    def test_certificate(self) -> None:
        """A certificate may be PEM, percent-encoded PEM, Base64 or Base64 between colons."""
        pem = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n"
        for value in (
            pem,
            pem.replace("\n", " "),
            pem.replace("\n", "%0A").replace(" ", "%20"),
            "AAEC",
            ":AAEC:",
        ):
            found: Any = self.read("certificate", value)
            self.assertEqual(found.der, b"\x00\x01\x02", value)
        for value in ("x", "AAE", "-----BEGIN CERTIFICATE-----", "%00"):
            self.assertIs(self.flaw("certificate", value), Flaw.MALFORMED, value)

    def test_no_certificate(self) -> None:
        """No header, an empty one and a placeholder of Caddy stand for no certificate."""
        self.assertIsNone(self.read("certificate"))
        for value in ("", "{http.request.tls.client.certificate_der_base64}"):
            self.assertIsNone(self.read("certificate", value))

    def test_namespace(self) -> None:
        """A namespace is printable ASCII, or missing."""
        self.assertEqual(self.read("namespace", "/a/b"), "/a/b")
        self.assertIsNone(self.read("namespace"))
        self.assertIs(self.flaw("namespace", "/\xe9"), Flaw.MALFORMED)
