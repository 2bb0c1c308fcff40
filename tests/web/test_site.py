"""The checks, limits, metrics and logs that apply to every request."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http

from tests.web.conversations import ALICE, InMemoryGateway, answered, basic

HEAD = b"GET /health HTTP/1.1\r\nHost: gate\r\n"


class LimitsTests(SynchronousTestCase):
    """Each limit has its own status."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()

    def refused(self, data: bytes, status: int, pieces: int = 0) -> None:
        [answer] = self.gateway.say(data, pieces=pieces)
        self.assertEqual((answer.status, answer.headers["connection"]), (status, "close"))

    def test_request_line_T75(self) -> None:
        """A request line over 64 KiB is a 414, complete or not, at once or in pieces."""
        line = b"GET /" + b"a" * 65_540 + b" HTTP/1.1\r\n"
        self.refused(line, 414)
        self.refused(line, 414, pieces=100)
        self.refused(b"x" * 66_000, 414, pieces=1000)

    def test_header_block_T75(self) -> None:
        """A header block over the limit is a 431: many fields, one field, or one without an end."""
        self.refused(HEAD + b"X: " + b"y" * 66_000 + b"\r\n\r\n", 431)
        self.refused(HEAD + b"X: yyyyyyyyyy\r\n" * 5000, 431, pieces=700)
        self.refused(HEAD + b"X: " + b"y" * 80_000, 431, pieces=1000)

    def test_just_below(self) -> None:
        """Heads just below the limits are answered, repeatedly on one connection."""
        channel, wire = self.gateway.connect()
        for _ in range(3):
            channel.dataReceived(HEAD + b"X: " + b"y" * 65_000 + b"\r\n\r\n")
        self.assertEqual([answer.status for answer in answered(wire.value())], [200] * 3)

    def test_configured(self) -> None:
        """The limit of the header block is configurable."""
        self.gateway = InMemoryGateway({"server": {"max_header_bytes": 2**18}})
        [answer] = self.gateway.say(HEAD + b"X: " + b"y" * 250_000 + b"\r\n\r\n")
        self.assertEqual(answer.status, 200)

    def test_refused_once(self) -> None:
        """After a refusal nothing more is read, and the client has time to read the reply."""
        channel, wire = self.gateway.connect()
        channel.dataReceived(b"x" * 66_000)
        channel.dataReceived(b"\r\n" + HEAD + b"\r\n")
        self.assertEqual(len(answered(wire.value())), 1)
        self.assertTrue(wire.half_closed)
        self.assertFalse(wire.disconnected)
        self.gateway.clock.advance(2)
        self.assertTrue(wire.disconnected)

    def test_body_T75(self) -> None:
        """A large body is refused before it is read, chunked or not."""
        head = b"POST /tokens/revoke HTTP/1.1\r\nHost: gate\r\n"
        self.refused(head + b"Content-Length: 100000\r\n\r\n", 413)
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        self.refused(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3, 413)

    def test_small_body(self) -> None:
        """A small body is ignored."""
        head = f"GET /whoami HTTP/1.1\r\nHost: x\r\nAuthorization: {ALICE}\r\n"
        [answer] = self.gateway.say(head.encode() + b"Content-Length: 3\r\n\r\nabc")
        self.assertEqual(answer.status, 200)

    def test_slow_client_T69(self) -> None:
        """A request that arrives slowly has the same deadline as a silent client."""
        channel, wire = self.gateway.connect()
        for _ in range(59):
            self.gateway.clock.advance(1)
            channel.dataReceived(b"G")
        self.assertFalse(wire.disconnecting)
        self.gateway.clock.advance(1)
        self.assertTrue(wire.disconnecting)

    def test_idle(self) -> None:
        """Each reply starts a new deadline."""
        channel, wire = self.gateway.connect()
        for _ in range(3):
            self.gateway.clock.advance(50)
            channel.dataReceived(HEAD + b"\r\n")
        self.assertFalse(wire.disconnecting)
        self.gateway.clock.advance(60)
        self.assertTrue(wire.disconnecting)


class OddTests(SynchronousTestCase):
    """Malformed requests."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()

    def test_hosts_T75(self) -> None:
        """A malformed C{Host}, or two of them, is a 400, never a 500."""
        for host, status in (
            ("gate:8080", 200),
            ("[::1]:80", 200),
            ("a.b.", 200),
            ("a..b", 400),
            (f"{'x' * 64}.b", 400),
            ("a b", 400),
            ("\xe9", 400),
            ("a/b", 400),
            ("", 200),
            ("x\r\nHost: y", 400),
        ):
            with self.subTest(host):
                data = f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")
                [answer] = self.gateway.say(data)
                self.assertEqual(answer.status, status)

    def test_malformed_T28(self) -> None:
        """Bytes that are not HTTP get a 400."""
        for data in (
            b"nonsense\r\n\r\n",
            b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n",
            HEAD + b"Authorization : x\r\n\r\n",
            HEAD + b"no colon\r\n\r\n",
            HEAD + b"Authorization: Basic\r\n YWxpY2U6d29uZGVy\r\n\r\n",
            HEAD + b"Authorization:\r\n\tBasic YWxpY2U6d29uZGVy\r\n\r\n",
            b"GET /health HTTP/1.1\nHost: gate\n\n",
            HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ):
            with self.subTest(repr(data)):
                self.assertEqual(self.gateway.say(data)[0].status, 400)

    @given(some.binary(max_size=300))
    def test_anything_T21(self, value: bytes) -> None:
        """Whatever C{Authorization} contains, the answer is a 400 or a 401."""
        head = b"GET /authenticate HTTP/1.1\r\nHost: x\r\nAuthorization: " + value + b"\r\n\r\n"
        for answer in self.gateway.say(head)[:1]:
            self.assertIn(answer.status, (400, 401))


class NegotiationTests(SynchronousTestCase):
    """The protocols that a TLS endpoint offers (ALPN)."""

    def test_http_1_alone(self) -> None:
        """Neither the fast path nor the site alone, as on the metrics port, offers HTTP/2."""
        self.patch(http, "H2_ENABLED", True)  # as where h2 and priority are installed
        gateway = InMemoryGateway()
        for factory in (gateway.entrance, gateway.public):
            self.assertEqual(factory.acceptableProtocols(), [b"http/1.1"])


class CountedTests(SynchronousTestCase):
    """Metrics of requests."""

    def test_labels_T76(self) -> None:
        """Nothing that a client sends becomes a metric label unchecked."""
        gateway = InMemoryGateway()
        gateway.ask("GET /nowhere-canary")
        gateway.ask("CANARY /authenticate")
        gateway.ask("GET /authenticate", X_Auth_Realm="canary")
        gateway.ask("DELETE /token/canary", Authorization=ALICE)
        gateway.ask("GET /whoami", Authorization=basic("canary", "x"))
        text = gateway.metrics.text()[0].decode()
        self.assertNotIn("canary", text.lower())
        for route, method, status in (
            ("unmatched", "GET", 404),
            ("/authenticate", "other", 405),
            ("/token/{token}", "DELETE", 503),
        ):
            labels = f'method="{method}",route="{route}",status_code="{status}"'
            self.assertIn(f"authotron_http_requests_total{{{labels}}} 1.0", text)
        self.assertIn('authotron_http_requests_in_flight{method="GET"} 0.0', text)


class LoggedTests(SynchronousTestCase):
    """The access log."""

    def events(self, access: str) -> list[Any]:
        observer = EventLoggingObserver()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        gateway = InMemoryGateway({"logging": {"access": access}})
        gateway.ask("GET /whoami", Authorization=ALICE, X_Request_ID="abc-1")
        gateway.ask("GET /whoami", Authorization=basic("alice", "CANARY"), X_Request_ID="a b")
        return [event for event in observer if event.get("event") == "routes.request.answered"]

    def test_which(self) -> None:
        """All requests, only failures, or none are logged, as configured."""
        for access, statuses in (("all", [200, 401]), ("failures", [401]), ("none", [])):
            with self.subTest(access):
                self.assertEqual([event["status"] for event in self.events(access)], statuses)

    def test_fields(self) -> None:
        """The access log has client, user, route, status and duration, and no secret."""
        good, bad = self.events("all")
        self.assertEqual((good["username"], good["realm"]), ("alice", "internal"))
        self.assertEqual((good["client"], good["request_id"]), ("192.0.2.7", "abc-1"))
        self.assertEqual((bad["username"], bad["result"]), ("", "all_failed"))
        self.assertRegex(bad["request_id"], "^[0-9a-f]{32}$")
        self.assertNotIn("CANARY", repr(bad))


class SenderTests(SynchronousTestCase):
    """What the access log says of the sender of a request."""

    def events(self, data: bytes, **logging: Any) -> list[LogEvent]:
        """Return the events of one request on each of both ways, behind a trusted proxy."""
        gateway = InMemoryGateway(
            {
                "logging": {"access": "all", **logging},
                "server": {"trusted_proxies": ["192.0.2.0/24", "10.0.0.0/8"]},
            }
        )
        observer = EventLoggingObserver()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for site in (gateway.entrance, gateway.public):
            gateway.say(data, site)
        found = [each for each in observer if each["event"] == "routes.request.answered"]
        self.assertEqual(len(found), 2)
        return found

    def request(self, path: str, credential: str, *lines: str) -> bytes:
        fields = [f"GET {path} HTTP/1.1", "Host: gate", f"Authorization: {credential}", *lines]
        return "\r\n".join([*fields, "", ""]).encode("latin-1")

    def test_client_behind_a_proxy_W_CLIENT(self) -> None:
        """The access log names the client that a trusted proxy states, not the proxy."""
        for lines, client in (
            (("X-Forwarded-For: 203.0.113.7",), "203.0.113.7"),
            (("X-Forwarded-For: 8.8.8.8, 203.0.113.7:5, 10.0.0.1",), "203.0.113.7"),
            (("X-Forwarded-For: unknown",), "192.0.2.7"),
            ((), "192.0.2.7"),
        ):
            for path in ("/authenticate", "/whoami", "/health", "/nowhere"):
                for credential in (ALICE, basic("alice", "wrong")):
                    for event in self.events(self.request(path, credential, *lines)):
                        self.assertEqual(event["client"], client)

    def test_tried_name_on_demand_W_CLIENT(self) -> None:
        """The user name of a refused request is logged, escaped, only if that is configured."""
        for name, shown in (
            ("bob", "bob"),
            ("bob\nINFO alice", "bob\\nINFO alice"),
            ("b" * 100, "b" * 64),
            ("\u202ebob", "\\u202ebob"),
        ):
            request = self.request("/authenticate", basic(name, "canary"))
            for event in self.events(request, tried_names=True):
                self.assertEqual(event["tried"], shown)
                self.assertIn(shown, formatEvent(event))
                self.assertNotIn("canary", repr(event))
            for event in self.events(request):
                self.assertEqual(event["tried"], "")
                self.assertNotIn("bob", formatEvent(event))

    def test_no_tried_name_W_CLIENT(self) -> None:
        """A token, a malformed credential and an accepted one have no name that was tried."""
        for credential in ("Bearer canary", "Basic ***", "Basic", ALICE, "canary"):
            for event in self.events(self.request("/authenticate", credential), tried_names=True):
                self.assertEqual(event["tried"], "")
                self.assertNotIn("canary", repr(event))
