"""Heads that announce a body which does not follow, or which no route reads."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.web.channel import LINGER, MOST_IGNORED
from authotron.web.gateway_routes import WITH_BODY, GatewayRoutes
from tests.web.conversations import ALICE, EVERY_ROUTE, InMemoryGateway, Wire, answered

GOOD = f"Authorization: {ALICE}".encode()
ANNOUNCED = (
    (b"Content-Length: 5",),
    (b"Content-Length: 10000000",),
    (b"Content-Length: 999999999999999999",),
    (b"Transfer-Encoding: chunked",),
    (b"Expect: 100-continue", b"Content-Length: 5"),
    (b"Expect: 100-continue", b"Transfer-Encoding: chunked"),
    (b"Content-Length: 5", b"Content-Type: application/json"),
)
"""Fields that announce a body."""


def head(
    *fields: bytes, line: bytes = b"GET /authenticate HTTP/1.1", credential: bytes = GOOD
) -> bytes:
    return b"\r\n".join([line, b"Host: gate", credential, *fields, b"", b""])


class AnnouncedBodyTests(SynchronousTestCase):
    """The answer of a route that reads no body does not wait for one."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()
        self.sites = (self.gateway.entrance, self.gateway.public)

    def sent(self, data: bytes, site: Any, size: int = 0) -> tuple[Any, Wire, list[int]]:
        channel, wire = self.gateway.connect(site)
        for at in range(0, len(data), size or len(data)):
            channel.dataReceived(data[at : at + (size or len(data))])
        return channel, wire, [each.status for each in answered(wire.value())]

    def test_body_never_sent_H_BODY(self) -> None:
        """A head whose body never comes is answered at once, and the connection is closed."""
        for site in self.sites:
            for fields in ANNOUNCED:
                for size in (0, 1):
                    _, wire, statuses = self.sent(head(*fields), site, size)
                    self.assertEqual(statuses, [200], fields)
                    [answer] = answered(wire.value())
                    self.assertEqual(answer.headers["connection"], "close")
                    self.assertTrue(wire.half_closed, fields)

    def test_fast_path_answers_H_BODY(self) -> None:
        """The fast path itself answers a question that announces a body."""
        for fields in ANNOUNCED:
            self.sent(head(*fields), self.gateway.entrance)
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_refusals_H_BODY(self) -> None:
        """A wrong password, an unknown path and a wrong method do not wait for a body either."""
        wrong = b"Authorization: Basic YWxpY2U6d3Jvbmc="
        for site in self.sites:
            for request, status in (
                (head(b"Content-Length: 5", credential=wrong), 401),
                (head(b"Content-Length: 5", line=b"GET /nowhere HTTP/1.1"), 404),
                (head(b"Content-Length: 5", line=b"POST /authenticate HTTP/1.1"), 405),
                (head(b"Content-Length: 5", line=b"PUT /whoami HTTP/1.1"), 405),
                (head(b"Content-Length: 5", line=b"GET /health HTTP/1.1"), 200),
                (head(b"Content-Length: 5", line=b"HEAD /authenticate HTTP/1.1"), 200),
                (head(b"Content-Length: 5", line=b"GET /authenticate HTTP/1.0"), 200),
                (head(b"Content-Length: 5", line=b"DELETE /tokens/x HTTP/1.1"), 503),
            ):
                self.assertEqual(self.sent(request, site)[2], [status], request)

    def test_body_is_no_request_H_BODY_T98(self) -> None:
        """What follows a head whose body is not read is discarded, and never read as a request."""
        inner = head(line=b"GET /whoami HTTP/1.1")
        for site in self.sites:
            for data in (b"abcde" + inner, inner, b"0\r\n\r\n" + inner):
                for fields in ANNOUNCED:
                    _, _, statuses = self.sent(head(*fields) + data, site)
                    self.assertEqual(statuses, [200])
                    channel, wire, _ = self.sent(head(*fields), site)
                    channel.dataReceived(data)
                    self.assertEqual(len(answered(wire.value())), 1)

    def test_malformed_lengths_H_BODY_T75a(self) -> None:
        """Ambiguous lengths are refused on every route, whether it reads the body or not."""
        for site in self.sites:
            for fields in (
                (b"Content-Length: 5", b"Content-Length: 5"),
                (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
                (b"Content-Length: +5",),
                (b"Transfer-Encoding: gzip",),
            ):
                self.assertEqual(self.sent(head(*fields), site)[2], [400])

    def test_never_invited_H_BODY(self) -> None:
        """A client that asks whether to send a body that no route reads is not invited to."""
        for site in self.sites:
            for fields in ((b"Expect: 100-continue",), ANNOUNCED[4]):
                _, wire, _ = self.sent(head(*fields), site)
                self.assertNotIn(b"100 Continue", wire.value())

    def test_client_may_read_the_reply_H_BODY(self) -> None:
        """The connection stays open for 2 s at most, so that a sending client reads the reply."""
        for site in self.sites:
            _, wire, _ = self.sent(head(b"Content-Length: 5"), site)
            self.assertFalse(wire.disconnected)
            self.gateway.clock.advance(LINGER)
            self.assertTrue(wire.disconnected)

    def test_large_bodies_are_not_read_H_BODY(self) -> None:
        """Of a body that no route reads, 64 KiB are discarded; more is left to the sender."""
        for site in self.sites:
            channel, wire, _ = self.sent(head(b"Content-Length: 10000000"), site)
            channel.dataReceived(b"x" * MOST_IGNORED)
            self.assertEqual(wire.producerState, "producing")
            channel.dataReceived(b"x")
            self.assertEqual(wire.producerState, "paused")

    def test_waiting_H_BODY(self) -> None:
        """While a provider takes time, the body is not kept, and the answer comes when it can."""
        for site in self.sites:
            asked: Deferred[Any] = self.gateway.hold()
            channel, wire, statuses = self.sent(head(b"Content-Length: 5"), site)
            self.assertEqual(statuses, [])
            channel.dataReceived(b"abcde" + head(line=b"GET /whoami HTTP/1.1"))
            asked.callback(self.gateway.good(Authentication(Identity("internal", "alice"))))
            self.assertEqual([each.status for each in answered(wire.value())], [200])
            self.assertTrue(wire.half_closed)
            channel.dataReceived(head())
            self.assertEqual(len(answered(wire.value())), 1)

    def test_client_leaves_H_BODY(self) -> None:
        """A client that closes its connection after the reply leaves no timer behind."""
        for site in self.sites:
            channel, _, _ = self.sent(head(b"Content-Length: 5"), site)
            channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.gateway.clock.getDelayedCalls(), [])

    def test_routes_with_a_body_H_BODY(self) -> None:
        """Exactly the routes that read a body wait for it."""
        self.gateway = InMemoryGateway(EVERY_ROUTE)
        waiting = set()
        for rule in GatewayRoutes.app.url_map.iter_rules():
            path = rule.rule.replace("<token>", "x").replace("<id_>", "x")
            label = rule.rule.replace("<token>", "{token}").replace("<id_>", "{id}")
            for method in (rule.methods or set()) - {"OPTIONS"}:
                line = f"{method} {path} HTTP/1.1".encode()
                if not self.sent(head(b"Content-Length: 5", line=line), self.gateway.public)[2]:
                    waiting.add((method, label))
        self.assertEqual(waiting, set(WITH_BODY))
