"""Requests to remote services through HTTP proxies, of the environment or of one plugin."""

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

from authotron.cli.remote_checks import noting_proxies
from authotron.config import section
from authotron.config.section import SecretUrl
from authotron.config.sources import Sources
from authotron.model.errors import ConfigError, Unavailable
from authotron.net import http as net_http
from authotron.net.breaker import Breakers
from authotron.net.http import RemoteConfig, WebClient
from authotron.net.http_agents import Connections
from authotron.net.proxies import WANTS_LOGIN, Proxies, Proxy, from_environment
from authotron.net.tls import Trust
from authotron.net.urls import Url
from authotron.testing.remotes import FakeRemote, Respond, start
from authotron.testing.worlds import world
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


def remote(environ: dict[str, str] | None = None, **keys: Any) -> RemoteConfig:
    """Read the keys of a plugin that speaks HTTP."""
    return section.read(Asking, keys, sources=Sources(environ=environ or {}))


class Asking(RemoteConfig):
    """The keys of a plugin that sends requests to one URL."""

    url: Url = "https://a.example/p"


class KeyTests(SynchronousTestCase):
    """The key C{proxy} of each plugin that speaks HTTP."""

    def message(self, environ: dict[str, str] | None = None, **keys: Any) -> str:
        error = self.assertRaises(ConfigError, remote, environ, **keys)
        return str(error)

    def test_key_comes_before_the_environment_H_PROXY(self) -> None:
        """A URL is the proxy of all hosts, C{none} connects directly, null is the environment."""
        for given, chosen in (
            ("http://u:p@b.example:1", "b.example:1"),
            ("b.example", "b.example:80"),
            ("none", "None"),
            (" None ", "None"),
        ):
            with self.subTest(given):
                found = remote(proxy=given).proxies()
                assert found is not None
                self.assertEqual(str(found.choose("https", "a.example")), chosen)
                self.assertEqual(str(found.choose("http", "a.example")), chosen)
        self.assertIsNone(remote().proxies())
        self.assertIsNone(remote(proxy=None).proxies())

    def test_other_kinds_are_mistakes_H_PROXY(self) -> None:
        """A proxy of another kind is refused by name, and its password is not repeated."""
        for given, words in (
            ("socks5://u:CANARY@b:1", "SOCKS proxy"),
            ("socks5h://u:CANARY@b:1", "SOCKS proxy"),
            ("socks4a://b:1", "SOCKS proxy"),
            ("https://u:CANARY@b:1", "by TLS (https)"),
            ("ftp://u:CANARY@b", "not the URL of a proxy"),
            ("http://u:CANARY@b:x", "not the URL of a proxy"),
            ("", "not the URL of a proxy"),
        ):
            with self.subTest(given):
                message = self.message(proxy=given)
                self.assertIn("proxy: ", message)
                self.assertIn(words, message)
                self.assertIn("http://proxy.example.org:3128", message)
                self.assertNotIn("CANARY", message)

    def test_other_kinds_in_the_environment_are_mistakes_H_PROXY(self) -> None:
        """A variable with a proxy of another kind is a mistake if a request would go through it."""
        socks, tls = "socks5://u:CANARY@b:1", "https://b:1"
        for environ, is_mistake in (
            ({"https_proxy": socks}, True),
            ({"HTTPS_PROXY": tls}, True),
            ({"all_proxy": socks}, True),
            ({"https_proxy": "http://b:1", "all_proxy": socks}, False),
            ({"http_proxy": socks}, False),
            ({"https_proxy": socks, "no_proxy": ".example"}, False),
            ({"https_proxy": socks, "REQUEST_METHOD": "GET"}, False),
            ({"https_proxy": "http://b:x"}, False),
        ):
            with self.subTest(environ):
                if is_mistake:
                    message = self.message(environ)
                    self.assertIn(f"variable {next(iter(environ))} names a", message)
                    self.assertIn("proxy: none", message)
                    self.assertNotIn("CANARY", message)
                    remote(environ, proxy="none")
                else:
                    remote(environ)
        remote({"https_proxy": socks}, url="https://127.0.0.1/")

    def test_proxy_that_is_not_used_H_PROXY(self) -> None:
        """A proxy for a service on this machine is not used, and there is a warning."""
        [warning] = remote(proxy="http://b:1", url="https://localhost/").warnings()
        self.assertIn("proxy: not used", warning)
        self.assertEqual(remote(proxy="http://b:1").warnings(), ())
        self.assertEqual(remote(proxy="none", url="https://localhost/").warnings(), ())

    def test_password_is_not_shown_H_PROXY(self) -> None:
        """User and password of a proxy are shown as asterisks, with the rest of the URL."""
        config = remote(proxy="http://user:CANARY@b.example:1")
        self.assertNotIn("CANARY", repr(config) + str(config))
        self.assertEqual(str(config.proxy), "http://***@b.example:1")
        self.assertEqual(str(SecretUrl("user:CANARY@b:1")), "***@b:1")
        self.assertEqual(str(SecretUrl("http://b:1/x@y")), "http://b:1/x@y")

    def test_twins_H_PROXY(self) -> None:
        """The URL of a proxy may come from a variable or a file, as other secrets."""
        environ = {"PROXY": "http://u:p@b.example:1"}
        found = remote(environ, proxy_env="PROXY").proxies()
        assert found is not None
        self.assertEqual(str(found.https), "b.example:1")

    def test_connections_are_apart_H_PROXY(self) -> None:
        """Plugins with different proxies share neither connections nor circuit breakers."""
        agents = Connections(Clock(), lambda *_: None)  # type: ignore[arg-type] # as much as is needed
        other = Proxies.only(PROXY)
        self.assertIs(agents(Trust()), agents(Trust(), Proxies()))
        self.assertIsNot(agents(Trust()), agents(Trust(), other))
        self.assertIs(agents(Trust(), other), agents(Trust(), Proxies.only(PROXY)))

    def test_every_plugin_hands_on_its_proxy_H_PROXY(self) -> None:
        """The requests of a plugin go through the proxy of its section."""
        fake = FakeRemote(lambda _: Respond({"keys": []}))
        for proxy, expected in (("none", Proxies()), ("http://b:1", Proxies.only(Proxy("b", 1)))):
            web = net_http.make(remote(proxy=proxy), world(agents=fake))
            start(web.get("https://a.example/p"))
            self.assertEqual(fake.proxies[-1], expected)


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

    def test_wrong_login_H_PROXY(self) -> None:
        """A proxy that wants another login is named as the reason, not the remote service."""
        asking = self.ask("http://a.example/p")
        self.server.say(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        error = self.successResultOf(asking).unexpected_status()
        self.assertIn("http://a.example/p answered 407: the proxy wants a login", str(error))

    def test_proxy_is_named_H_PROXY(self) -> None:
        """Each request through a proxy is logged with the proxy, without passwords and paths."""
        with noting_proxies() as log:
            self.ask("http://a.example:81/p?token=SECRET").addErrback(lambda _: None)
            self.ask("https://b.example/p?token=SECRET").addErrback(lambda _: None)
            self.ask("http://direct.example/p").addErrback(lambda _: None)
        remotes = ("http://a.example:81", "https://b.example")
        self.assertEqual(log.used, dict.fromkeys(remotes, "proxy.example:3128"))
        [one, _] = log.results()
        self.assertEqual(one.detail, "http://a.example:81 by proxy.example:3128")

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
            (
                b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
                f"answered 407: {WANTS_LOGIN}",
            ),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n", "answered 403"),
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
