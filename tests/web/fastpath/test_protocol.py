"""What the front promises: the same answers as the site alone, only sooner."""

from __future__ import annotations

import re
import resource
from math import inf
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.model.request import Facts, Presented
from authotron.tokens import service
from authotron.web.channel import LAST_CALL, Channel
from authotron.web.connections import connection_limit, metrics_connection_limit
from authotron.web.fastpath import repeats
from authotron.web.fastpath.request import Head
from tests import STREAMS
from tests.web.conversations import ALICE, InMemoryGateway, Replaced, Wire, answered
from tests.web.streams import BEARERS, GOOD, LIMITED, streams


def head(*fields: bytes, line: bytes = b"GET /authenticate HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: gateway", *fields, b"", b""])


PROXIES = ["192.0.2.0/24", "10.0.0.0/8"]
"""Trusted proxies; the peer of all connections is one of them."""


class Minter:
    """Mints JWTs that do not differ between gateways."""

    max_lifetime = 3600
    signs_until = inf
    first_read = None

    def mint(self, found: Authentication) -> str:
        return f"token-of-{found.identity.username}"


@implementer(ILogObserver)
class Way:
    """One way into a gateway, with or without the front, and all that it leaves behind."""

    def __init__(
        self, *, fronted: bool, ttl: int = 60, trusted: bool = True, is_noted: bool = True
    ) -> None:
        over = {
            "auth": {"cache": {"ttl": ttl}},
            "logging": {"access": "all"},
            "server": {"trusted_proxies": PROXIES if trusted else PROXIES[1:]},
            "store": {"type": "memory"},
        }
        self.gateway = InMemoryGateway(over)
        decisions = self.gateway.serving.gateway.decisions
        decisions._minter = Minter()
        for token, limits in LIMITED:
            with patch.object(service, "generate", lambda _, token=token: token):
                answer = self.gateway.post("/tokens", limits, Authorization=ALICE)
            assert answer.json()["token"] == token.text
        self.asked: list[Any] = []
        self.events: list[Any] = []
        self.site = self.gateway.entrance if fronted else self.gateway.public
        if not is_noted:
            return
        decide = decisions.decide

        def noted(presented: Presented, client: Any) -> Any:
            self.asked.append((presented, client()()))
            return decide(presented, client)

        self.gateway.serving.gateway = Replaced(self.gateway.serving.gateway, noted)  # type: ignore[assignment] # stands in for it

    def send(self, *chunks: bytes) -> tuple[bytes, bool]:
        """What came back but for date and order of headers, and whether the connection ends."""
        globalLogPublisher.addObserver(self)
        try:
            channel, wire = self.gateway.connect(self.site)
            for chunk in chunks:
                if not (wire.disconnecting or wire.half_closed):
                    channel.dataReceived(chunk)
            return HEAD.sub(sorted_head, wire.value()), wire.disconnecting or wire.half_closed
        finally:
            globalLogPublisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        if event.get("event") == "routes.request.answered":
            ignored = ("request_id",) if len(event["request_id"]) == 32 else ()
            wanted = (
                "method",
                "route",
                "status",
                "client",
                "result",
                "username",
                "request_id",
                "reason",
            )
            self.events.append([event[name] for name in wanted if name not in ignored])

    def counted(self) -> list[str]:
        text = self.gateway.metrics.text()[0].decode()
        return [line for line in text.splitlines() if re.match("auth_|authotron_http", line)]


HEAD = re.compile(rb"(HTTP/1\.\d \d\d\d [^\r\n]*\r\n)((?:[^\r\n]+\r\n)*)\r\n")


def sorted_head(reply: re.Match[bytes]) -> bytes:
    lines = sorted(line for line in reply[2].splitlines() if not line.startswith(b"Date: "))
    return reply[1] + b"\r\n".join(lines) + b"\r\n\r\n"


class DifferentialTests(SynchronousTestCase):
    """The same bytes down both ways."""

    def agree(self, *streams: list[bytes], **settings: Any) -> Way:
        """Send streams both ways, and return the way with the front."""
        front, alone = Way(fronted=True, **settings), Way(fronted=False, **settings)
        for chunks in streams:
            self.assertEqual(front.send(*chunks), alone.send(*chunks), chunks)
        self.assertEqual(front.asked, alone.asked)
        self.assertEqual(front.events, alone.events)
        self.assertEqual(front.counted(), alone.counted())
        return front

    @settings(max_examples=STREAMS, suppress_health_check=list(HealthCheck))
    @given(
        streams=some.lists(streams(), min_size=1, max_size=2),
        ttl=some.sampled_from([0, 60]),
        trusted=some.booleans(),
    )
    def test_any_stream(self, streams: list[list[bytes]], ttl: int, *, trusted: bool) -> None:
        """For all bytes, in all pieces, both ways give the same answers, metrics and events."""
        self.agree(*streams, ttl=ttl, trusted=trusted)

    def test_malformed_host(self) -> None:
        """A malformed Host gets the same 400 on both ways, in HTTP/1.0 and in HTTP/1.1."""
        for version in (b"1.0", b"1.1"):
            self.agree([b"GET /_auth HTTP/%b\r\nHost: a b\r\n\r\n" % version])

    @settings(max_examples=STREAMS, suppress_health_check=list(HealthCheck))
    @given(
        streams=some.lists(streams(), min_size=1, max_size=2),
        ttl=some.sampled_from([0, 60]),
        trusted=some.booleans(),
    )
    def test_any_stream_repeated(
        self, streams: list[list[bytes]], ttl: int, *, trusted: bool
    ) -> None:
        """Both ways agree as well about heads that were parsed before and are recognised again."""
        with patch.object(repeats, "ONE_IN", 1):
            self.agree(*streams * 2, *reversed(streams), ttl=ttl, trusted=trusted, is_noted=False)

    def test_limited_tokens(self) -> None:
        """The fast path itself answers requests with limited tokens, as the site answers them."""
        hosts = (
            (b"X-Forwarded-Host: a.example.org",),
            (b"x-forwarded-host:\tAPI.Example.com:8443 ",),
            (b"X-Forwarded-Host: other.example",),
            (b"X-Forwarded-Host: a.example.org", b"X-Forwarded-Host: a.example.org"),
            (b"X-Forwarded-Host: \xe9\xff.example.org",),
            (b"X-Forwarded-Host:",),
            (b"X_Forwarded_Host: a.example.org", b"Y: X-Forwarded-Host: a.example.org"),
        )
        clients = (
            (b"X-Forwarded-For: 8.8.8.8, 203.0.113.7, 10.1.1.1",),
            (b"X-FORWARDED-FOR:2001:DB8::1",),
            (b"X-Forwarded-For: 203.0.113.7", b"x-forwarded-for: 203.0.113.7"),
            (b"X-Forwarded-For: 8.8.8.8",),
            (b"X-Forwarded-For: \x80, 203.0.113.7, \xa0",),
            (),
        )
        lines = (b"GET /authenticate HTTP/1.1", b"HEAD /auth HTTP/1.1")
        requests = [
            head(b"Authorization: " + bearer, *host, *client, line=line)
            for bearer in BEARERS
            for host in hosts
            for client in clients
            for line in lines
        ]
        for trusted, expected in ((True, {200, 400, 403}), (False, {200, 400})):
            front = self.agree(requests, trusted=trusted)
            self.assertEqual({event[2] for event in front.events}, expected)
            denied = {event[-1] for event in front.events if event[2] in (400, 403)}
            self.assertTrue(all("condition of the credential" in each for each in denied), denied)
            self.assertEqual(front.gateway.handed_over(), 0)

    def test_every_byte(self) -> None:
        """So they do when requests come byte by byte."""
        whole = head(b"Authorization: " + GOOD) + head(line=b"GET /whoami HTTP/1.1")
        self.agree([whole[i : i + 1] for i in range(len(whole))])

    def test_every_cut(self) -> None:
        """And when a request comes in two pieces, cut anywhere."""
        whole = head(b"Authorization: " + GOOD, b"X-Auth-Realm: internal")
        self.agree(*([whole[:cut], whole[cut:]] for cut in range(len(whole))))

    def test_client_T84d(self) -> None:
        """Both ways find the same address of a client, however a proxy names it."""
        for lines, client in (
            ([b"X-Forwarded-For: 203.0.113.7"], "203.0.113.7"),
            ([b"x-forwarded-FOR:203.0.113.7 , 10.1.1.1\t"], "203.0.113.7"),
            ([b"X-Forwarded-For: 8.8.8.8, 2001:DB8::0:1"], "2001:db8::1"),
            ([b"X-Forwarded-For: 8.8.8.8, [::ffff:203.0.113.7]"], "203.0.113.7"),
            ([b"X-Forwarded-For: 203.0.113.7, unknown"], None),
            ([b"X-Forwarded-For: 203.0.113.7" + b", 10.0.0.1" * 50], "203.0.113.7"),
            ([b"X-Forwarded-For: \xe9"], None),
            ([b"X-Forwarded-For:"], None),
            ([b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-For: 203.0.113.8"], "203.0.113.8"),
            ([b"X-Forwarded-For: 203.0.113.7:51234"], "203.0.113.7"),
            ([b"X-Forwarded-For: [2001:db8::1]:443", b"X-Forwarded-For: 10.0.0.1"], "2001:db8::1"),
            ([b"X-X-Forwarded-For: 203.0.113.7", b"Y: X-Forwarded-For: 203.0.113.7"], None),
            ([b"X-Forwarded-For : 203.0.113.7"], None),
            ([], None),
        ):
            with self.subTest(lines):
                fields = [b"Authorization: " + GOOD, *lines, b"Connection: close"]
                ways = [Way(fronted=fronted) for fronted in (True, False)]
                for way in ways:
                    way.send(head(*fields))
                self.assertEqual(ways[0].asked, ways[1].asked)
                self.assertEqual(
                    [asked[1] for asked in ways[0].asked], [client][: len(ways[0].asked)]
                )

    def test_keep_alive(self) -> None:
        """And over many requests on one connection."""
        self.agree([head(b"Authorization: " + GOOD)] * 5 + [head()] * 3)


REQUESTS_OF_PROXIES = {
    "nginx, its default": b"GET /_auth HTTP/1.0\r\nHost: authotron\r\nConnection: close\r\n"
    b"Authorization: %b\r\nX-Original-URI: /api/x?y=z\r\nX-Original-Method: POST\r\n"
    b"User-Agent: curl/8\r\nAccept: */*\r\n\r\n",
    "nginx, kept alive": b"GET /auth HTTP/1.1\r\nHost: authotron\r\nX-Original-URI: /api/\r\n"
    b"X-Request-ID: 5f3a\r\nAuthorization: %b\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nCookie: a=b; c=d\r\n\r\n",
    "Traefik": b"GET /authenticate HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8\r\n"
    b"Accept: */*\r\nAuthorization: %b\r\nX-Forwarded-For: 192.0.2.9\r\n"
    b"X-Forwarded-Host: api.example.org\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Proto: https\r\n"
    b"X-Forwarded-Uri: /x\r\nAccept-Encoding: gzip\r\n\r\n",
    "Caddy": b"GET /authenticate HTTP/1.1\r\nHost: api.example.org\r\nUser-Agent: curl/8\r\n"
    b"Content-Length: 0\r\nAccept: */*\r\nAuthorization: %b\r\nX-Forwarded-For: 192.0.2.9\r\n"
    b"X-Forwarded-Method: PUT\r\nX-Forwarded-Uri: /x\r\nAccept-Encoding: gzip\r\n\r\n",
    "Envoy": b"GET /authenticate HTTP/1.1\r\nhost: api.example.org\r\ncontent-length: 0\r\n"
    b"authorization: %b\r\nx-envoy-internal: true\r\nx-forwarded-for: 10.0.0.1\r\n"
    b"x-envoy-expected-rq-timeout-ms: 200\r\n\r\n",
    "HAProxy": b"GET /authenticate HTTP/1.1\r\nhost: api.example.org\r\nauthorization: %b\r\n"
    b"user-agent: curl/8\r\naccept: */*\r\nconnection: close\r\n\r\n",
}


class FastTests(SynchronousTestCase):
    """What must stay on the fast way."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()

    def test_proxies(self) -> None:
        """The requests of every proxy we know, whole and cut anywhere."""
        for name, template in REQUESTS_OF_PROXIES.items():
            request = template % GOOD
            for cut in range(1, len(request)):
                with self.subTest(f"{name}, cut at {cut}"):
                    channel, wire = self.gateway.connect(self.gateway.entrance)
                    channel.dataReceived(request[:cut])
                    channel.dataReceived(request[cut:])
                    [answer] = answered(wire.value())
                    self.assertEqual(answer.status, 200)
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_back_to_the_front(self) -> None:
        """A connection that left the fast path is closed after a few requests."""
        channel, wire = self.gateway.connect(self.gateway.entrance)
        channel.dataReceived(head(line=b"GET /health HTTP/1.1"))
        while not wire.disconnecting:
            channel.dataReceived(head(b"Authorization: " + GOOD))
        answers = answered(wire.value())
        self.assertEqual(len(answers), 8)
        self.assertEqual(answers[-1].headers["connection"], "close")
        self.assertEqual(self.gateway.handed_over(), 1)

    def test_not_shown(self) -> None:
        """The representation of a decision contains no JWT."""
        decision: Any = self.gateway.serving.gateway.decisions.decide(Presented(GOOD))
        token = dict(decision.reply.headers)[b"Authorization"].decode()
        self.assertTrue(token)
        self.assertNotIn(token, repr(decision))


class Never:
    """A condition that no request meets."""

    def holds(self, _: Facts) -> bool:
        return False


class Defective:
    """A condition with a defect."""

    def holds(self, _: Facts) -> bool:
        return bool(1 / 0)


class ConnectionTests(SynchronousTestCase):
    """What may happen to a connection."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()
        self.asked: Deferred[Any] = Deferred()

    def wait(self) -> tuple[Any, Wire]:
        """A connection whose request waits for its answer."""
        self.asked = self.gateway.hold()
        channel, wire = self.gateway.connect(self.gateway.entrance)
        channel.dataReceived(head(b"Authorization: " + GOOD))
        return channel, wire

    def answer(self, **given: Any) -> None:
        found = Authentication(Identity("internal", "alice"), **given)
        self.asked.callback(self.gateway.good(found))

    def test_broken_channel_T75(self) -> None:
        """Whatever becomes of a connection behind the front, it keeps no place in front of it."""
        self.patch(Channel, "headerReceived", lambda *_: 1 / 0)
        channel, _ = self.gateway.connect(self.gateway.entrance)
        self.assertRaises(ZeroDivisionError, channel.dataReceived, head(line=b"GET / HTTP/1.1"))
        channel.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.gateway.entrance.drain().called)

    def test_waits(self) -> None:
        """An answer that must be waited for is sent when it is there, with no deadline of ours."""
        _, wire = self.wait()
        self.gateway.clock.advance(100)
        self.assertEqual(wire.value(), b"")
        self.answer()
        self.assertEqual(answered(wire.value())[0].status, 200)

    def test_leaves(self) -> None:
        """A client that leaves cancels its question; no timer and no count is left behind."""
        channel, _ = self.wait()
        channel.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.asked.called)
        self.assertEqual(self.gateway.clock.getDelayedCalls(), [])
        text = self.gateway.metrics.text()[0].decode()
        self.assertNotIn('route="/authenticate"', text)

    def test_more_meanwhile(self) -> None:
        """What comes meanwhile is answered after it, by whom it belongs to."""
        channel, wire = self.wait()
        channel.dataReceived(head(line=b"GET /health HTTP/1.1"))
        self.assertEqual(wire.value(), b"")
        self.answer()
        self.assertEqual([a.body for a in answered(wire.value())], [b"", b"OK"])

    def test_too_much_meanwhile(self) -> None:
        """A client that sends without end while it waits is not read without bound."""
        channel, wire = self.wait()
        channel.dataReceived(b"x" * 66_000)
        self.assertEqual(wire.producerState, "paused")

    def test_denied_after_wait(self) -> None:
        """A condition is checked, too, if the decision had to be waited for."""
        _, wire = self.wait()
        self.answer(conditions=(Never(),))
        self.assertEqual([each.status for each in answered(wire.value())], [403])
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_defective_condition(self) -> None:
        """A request whose condition has a defect goes to the site, which answers 500."""
        _, wire = self.wait()
        self.answer(conditions=(Defective(),))
        self.assertEqual([each.status for each in answered(wire.value())], [500])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.gateway.handed_over(), 1)

    def test_drain(self) -> None:
        """Draining closes what is idle very soon, and what is answered when it is."""
        _, waiting = self.wait()
        _, idle = self.gateway.connect(self.gateway.entrance)
        self.gateway.entrance.drain()
        self.gateway.clock.advance(LAST_CALL)
        self.assertEqual((idle.disconnecting, waiting.disconnecting), (True, False))
        self.answer()
        self.assertTrue(waiting.disconnecting)
        self.assertEqual(answered(waiting.value())[0].headers["connection"], "close")

    def test_drain_late(self) -> None:
        """A request that was on its way when draining began is answered, and is the last."""
        late, wire = self.gateway.connect(self.gateway.entrance)
        self.gateway.entrance.drain()
        late.dataReceived(head())
        self.assertEqual(answered(wire.value())[0].headers["connection"], "close")
        self.assertTrue(wire.disconnecting)

    def test_drain_denied(self) -> None:
        """A connection whose request is denied while all are draining is closed."""
        _, waiting = self.wait()
        self.gateway.entrance.drain()
        self.answer(conditions=(Never(),))
        [answer] = answered(waiting.value())
        self.assertEqual((answer.status, answer.headers["connection"]), (403, "close"))
        self.assertTrue(waiting.disconnecting)

    def test_drain_handed_over(self) -> None:
        """A connection that goes to the site while all are draining is closed by the site."""
        _, waiting = self.wait()
        self.gateway.entrance.drain()
        self.answer(conditions=(Defective(),))
        self.assertEqual([each.status for each in answered(waiting.value())], [500])
        self.assertTrue(waiting.disconnecting)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_idle(self) -> None:
        """Who says nothing is sent away, and then hung up on."""
        _, wire = self.gateway.connect(self.gateway.entrance)
        self.gateway.clock.advance(60)
        self.assertTrue(wire.disconnecting)
        self.gateway.clock.advance(15)
        self.assertTrue(wire.disconnected)

    def test_trickles_T69(self) -> None:
        """So is who sends a byte now and then."""
        channel, wire = self.gateway.connect(self.gateway.entrance)
        for byte in head(b"Authorization: " + GOOD)[:60]:
            channel.dataReceived(bytes([byte]))
            self.gateway.clock.advance(1)
        self.assertTrue(wire.disconnecting)


class LimitTests(SynchronousTestCase):
    """How much one client may ask of the front, and how many clients there may be."""

    def opened(self, gateway: InMemoryGateway, count: int) -> list[tuple[Any, Wire]]:
        return [gateway.connect(gateway.entrance) for _ in range(count)]

    def test_small_limit_T75(self) -> None:
        """A limit below that of the front holds for simple heads, too, in one piece or many."""
        gateway = InMemoryGateway({"server": {"max_header_bytes": 1024}})
        large = head(b"Authorization: " + GOOD, b"X: " + b"a" * 1024)
        small = head(b"Authorization: " + GOOD, b"X: " + b"a" * 800)
        for pieces in (1, 7):
            for request, status in ((large, 431), (small, 200)):
                channel, wire = gateway.connect(gateway.entrance)
                size = -(-len(request) // pieces)
                for at in range(0, len(request), size):
                    channel.dataReceived(request[at : at + size])
                self.assertEqual([a.status for a in answered(wire.value())], [status])

    def test_request_line_T75(self) -> None:
        """A request line that does not end is 414, also where it begins like a simple one."""
        channel, wire = InMemoryGateway().connect(InMemoryGateway().entrance)
        channel.dataReceived(b"GET /authenticate")
        channel.dataReceived(b"x" * 66_000)
        self.assertEqual([a.status for a in answered(wire.value())], [414])

    def test_pipelining_T75(self) -> None:
        """Of very many requests at once a few are answered, in order; then the connection ends."""
        gateway = InMemoryGateway()
        channel, wire = gateway.connect(gateway.entrance)
        channel.dataReceived(head(b"Authorization: " + GOOD) * 1000)
        self.assertEqual([a.status for a in answered(wire.value())], [200] * 8)
        self.assertTrue(wire.disconnecting)

    def test_full_T75(self) -> None:
        """A connection above the limit is answered with 503; the log warns once a minute."""
        gateway = InMemoryGateway({"server": {"max_connections": 2}})
        logged: list[LogEvent] = []
        note: Any = logged.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        (first, _), _ = self.opened(gateway, 2)
        for _, wire in self.opened(gateway, 5):
            [answer] = answered(wire.value())
            self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "1"))
            self.assertTrue(wire.disconnecting)
        gateway.clock.advance(61)
        self.opened(gateway, 1)
        events = [event for event in logged if event.get("event") == "routes.connections.full"]
        self.assertEqual([event["most"] for event in events], [2, 2])
        self.assertIn("authotron_connections_refused_total 6.0", gateway.metrics.text()[0].decode())
        first.connectionLost(Failure(ConnectionDone()))
        [(channel, wire)] = self.opened(gateway, 1)
        channel.dataReceived(head(b"Authorization: " + GOOD))
        self.assertEqual(answered(wire.value())[0].status, 200)

    def test_full_of_handed_over_T75(self) -> None:
        """Connections that went to the site count as well."""
        gateway = InMemoryGateway({"server": {"max_connections": 1}})
        channel, _ = gateway.connect(gateway.entrance)
        channel.dataReceived(head(line=b"GET /health HTTP/1.1"))
        [(_, wire)] = self.opened(gateway, 1)
        self.assertEqual(answered(wire.value())[0].status, 503)

    def test_room(self) -> None:
        """There is never more room than the process may have files, some kept back."""
        self.patch(resource, "getrlimit", lambda _: (1024, 4096))
        self.assertEqual(
            [connection_limit(None), connection_limit(50), connection_limit(5000)], [984, 50, 984]
        )
        self.patch(resource, "getrlimit", lambda _: (64, 64))
        self.assertEqual(connection_limit(None), 48)

    def test_room_beside_remotes_T85a(self) -> None:
        """Connections to remotes are no room for clients, who keep a quarter of the files."""
        self.patch(resource, "getrlimit", lambda _: (300, 300))
        self.assertEqual(
            [connection_limit(None, 40), connection_limit(None, 77), connection_limit(None, 250)],
            [220, 183, 75],
        )
        self.patch(resource, "getrlimit", lambda _: (-1, -1))
        self.assertEqual([connection_limit(None, 77), connection_limit(9, 77)], [1 << 30, 9])

    def test_room_of_both_ports_T85b(self) -> None:
        """The connections of the metrics port are no room for the main port, and few."""
        for files, rooms in (
            (1024, (64, 920)),
            (256, (32, 184)),
            (64, (8, 40)),
            (-1, (64, 1 << 30)),
        ):
            self.patch(resource, "getrlimit", lambda _, files=files: (files, files))
            second = metrics_connection_limit(64)
            self.assertEqual((second, connection_limit(None, second)), rooms)


class HeadTests(SynchronousTestCase):
    """The recogniser."""

    def simple(self, head: bytes) -> Head | None:
        return InMemoryGateway().entrance.recogniser.simple(head)

    def test_cut_short(self) -> None:
        """A head without its empty line is none, on every Python."""
        self.assertIsNone(self.simple(b"GET /authenticate HTTP/1.1\r\nHost:\r\n"))
        self.assertIsNone(self.simple(b"GET /authenticate HTTP/1.1\r\n"))

    def test_whole(self) -> None:
        """No byte may follow it."""
        self.assertIsNotNone(self.simple(head()))
        self.assertIsNone(self.simple(head() + b"x"))

    def test_many_fields(self) -> None:
        """Thousands of fields are left to the channel before they are looked at."""
        self.assertIsNone(self.simple(head(*[b"a:"] * 4100)))
