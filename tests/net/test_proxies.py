"""Requests to remote services through the HTTP proxies of the environment."""

from __future__ import annotations

import contextlib
from typing import Any

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import Unavailable
from authotron.net.breaker import Breakers
from authotron.net.http import WebClient
from authotron.net.http_agents import Connections
from authotron.net.proxies import Proxies, Proxy, from_environment
from authotron.net.tls import Trust
from authotron.testing.remotes import start
from tests.certificates import Authority, named
from tests.net.test_response_heads import GOOD
from tests.net.test_response_heads import Server as PlainServer
from tests.net.test_tls import Server as TlsServer

PROXY = Proxy("proxy.example", 3128, b"Basic dTpw")


class EnvironmentTests(SynchronousTestCase):
    """Which proxy the variables name for which URL."""

    def chosen(self, url: str, **environ: str) -> str | None:
        scheme, _, host = url.partition("://")
        proxy = from_environment(environ).choose(scheme, host)
        return None if proxy is None else str(proxy)

    def test_variables_H_PROXY(self) -> None:
        """Each scheme has a variable, C{all_proxy} is for both, and capitals come first."""
        for environ, http, https in (
            ({}, None, None),
            ({"http_proxy": "http://a:1"}, "a:1", None),
            ({"HTTPS_PROXY": "http://a:1/"}, None, "a:1"),
            ({"all_proxy": "a:1", "https_proxy": "b"}, "a:1", "b:80"),
            ({"http_proxy": "http://a:1", "HTTP_PROXY": "http://b:2"}, "b:2", None),
            ({"http_proxy": "http://a:1", "HTTP_PROXY": ""}, None, None),
            ({"http_proxy": "http://u:p@[::1]:8"}, "[::1]:8", None),
            ({"http_proxy": "http://a:1", "REQUEST_METHOD": "GET"}, None, None),
            ({"http_proxy": "socks5://a:1"}, None, None),
            ({"http_proxy": "http://a:x"}, None, None),
        ):
            with self.subTest(environ):
                self.assertEqual(self.chosen("http://h.example", **environ), http)
                self.assertEqual(self.chosen("https://h.example", **environ), https)

    def test_exceptions_H_PROXY(self) -> None:
        """C{no_proxy} names hosts with their subdomains, suffixes, addresses and networks."""
        for excepted, direct, through in (
            ("example.org", ["example.org", "a.EXAMPLE.org", "example.org."], ["notexample.org"]),
            (" .example.org , b", ["example.org", "x.example.org", "b"], ["org", "bb"]),
            ("*", ["anything", "a.example"], ["192.0.2.1"]),
            ("192.0.2.0/24,2001:db8::/32", ["192.0.2.9", "2001:db8::1"], ["192.0.3.1", "a"]),
            ("192.0.2.1", ["192.0.2.1"], ["192.0.2.2"]),
            ("", [], ["a"]),
        ):
            for host in (*direct, *through):
                with self.subTest(excepted, host=host):
                    given = {"http_proxy": "p:1", "no_proxy": excepted}
                    self.assertEqual(self.chosen(f"http://{host}", **given) is None, host in direct)

    def test_this_machine_H_PROXY(self) -> None:
        """This machine and link-local addresses are never reached through a proxy."""
        near = ("localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "169.254.1.1")
        for host in (*near, "fe80::1"):
            with self.subTest(host):
                self.assertIsNone(self.chosen(f"http://{host}", http_proxy="p:1"))

    def test_password_H_PROXY(self) -> None:
        """User and password of a proxy are decoded, and are not shown."""
        proxy = from_environment({"http_proxy": "http://u:p%40@a:1"}).http
        assert proxy is not None
        self.assertEqual(proxy.authorization, b"Basic dTpwQA==")
        self.assertNotIn("dTpw", repr(proxy) + str(proxy))


class ThroughProxyTests(SynchronousTestCase):
    """Requests that go through a proxy."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.places: list[tuple[str, int]] = []
        self.authority = Authority()
        self.server: Any = PlainServer()

    def ask(self, url: str) -> Deferred[Any]:
        def connect(host: str, port: int, /) -> Any:
            self.places.append((host, port))
            return self.server

        proxies = Proxies(PROXY, PROXY, ("direct.example",))
        agents = Connections(self.clock, connect, proxies)  # type: ignore[arg-type] # as much as is needed
        trust = Trust(self.authority.pem())
        self.web = WebClient(self.clock, agents, trust, 3, Breakers())
        return start(self.web.get(url))

    def test_http_H_PROXY(self) -> None:
        """A request for an C{http} URL is sent to the proxy, with the whole URL."""
        asking = self.ask("http://a.example/p?x=1")
        self.assertEqual(set(self.places), {("proxy.example", 3128)})
        sent = self.server.wire.value()
        self.assertTrue(sent.startswith(b"GET http://a.example/p?x=1 HTTP/1.1\r\n"), sent)
        self.assertIn(b"\r\nHost: a.example:80\r\n".replace(b":80", b""), sent)
        self.assertIn(b"\r\nProxy-Authorization: Basic dTpw\r\n", sent)
        self.server.say(GOOD["usual"])
        self.assertEqual(self.successResultOf(asking).json_object(), {})

    def test_direct_H_PROXY(self) -> None:
        """A host that C{no_proxy} names is connected to directly, without the proxy's password."""
        self.ask("http://direct.example/p").addErrback(lambda _: None)
        self.assertIn(("direct.example", 80), self.places)
        self.assertTrue(self.server.wire.value().startswith(b"GET /p HTTP/1.1\r\n"))
        self.assertNotIn(b"Proxy-", self.server.wire.value())

    def test_https_H_PROXY(self) -> None:
        """A request for an C{https} URL is encrypted for the remote service, through a tunnel."""
        self.server = server = TunnelServer(self.authority.issued(named("a.example")))
        asking = self.ask("https://a.example/p?token=SECRET")
        self.assertEqual(set(self.places), {("proxy.example", 3128)})
        self.assertEqual(
            server.transport.value(),
            b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n"
            b"Proxy-Authorization: Basic dTpw\r\n\r\n",
        )
        server.open(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
        server.pump(self.clock)
        self.assertTrue(server.heard.startswith(b"GET /p?token=SECRET HTTP/1.1\r\n"))
        self.assertNotIn(b"Proxy-", server.heard)
        asking.addErrback(lambda _: None)
        asking.cancel()

    def test_certificate_of_the_remote_H_PROXY_S_TLS(self) -> None:
        """The certificate behind a tunnel must name the remote service, not the proxy."""
        self.server = server = TunnelServer(self.authority.issued(named("proxy.example")))
        asking = self.ask("https://a.example/p?token=SECRET")
        server.open(b"HTTP/1.0 200 OK\r\n\r\n")
        server.pump(self.clock)
        reason = str(self.failureResultOf(asking, Unavailable).value)
        self.assertIn("certificate of another name", reason)
        self.assertEqual(server.heard, b"")

    def test_refused_tunnel_H_PROXY(self) -> None:
        """A proxy that opens no tunnel is an outage, with the proxy and its status."""
        for said, reason in (
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "did not answer by HTTP"),
            (b"x" * 70_000, "did not answer by HTTP"),
            (b"", "the server closed the connection"),
        ):
            with self.subTest(said[:20]):
                self.server = server = TunnelServer(self.authority.issued(named("a.example")))
                asking = self.ask("https://a.example/")
                server.client.dataReceived(said)
                end = ConnectionAborted() if said else ConnectionDone()
                server.client.connectionLost(Failure(end))
                message = str(self.failureResultOf(asking, Unavailable).value)
                text = "https://a.example/ cannot be reached: proxy proxy.example:3128: "
                self.assertEqual(message, text + reason)

    def test_proxy_out_of_reach_H_PROXY(self) -> None:
        """The error names the proxy if there is no connection to the proxy."""
        for scheme in ("http", "https"):
            self.server = Unreachable()
            asking = self.ask(f"{scheme}://a.example/")
            message = str(self.failureResultOf(asking, Unavailable).value)
            self.assertIn("proxy proxy.example:3128: connection refused", message)


class Unreachable:
    """A server that refuses connections."""

    def connect(self, _factory: Any) -> Deferred[Any]:
        return fail(error.ConnectionRefusedError())


class TunnelServer(TlsServer):
    """A proxy in memory, with a TLS server behind it."""

    def open(self, reply: bytes) -> None:
        """Open the tunnel by this reply."""
        self.transport.clear()
        with contextlib.suppress(SSL.Error):
            self.client.dataReceived(reply)
