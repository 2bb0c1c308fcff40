"""HTTP responses that are ambiguous or malformed are rejected."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import Unavailable
from authotron.net.breaker import Breakers
from authotron.net.http import RemoteResponse, WebClient
from authotron.net.http_agents import Connections
from authotron.net.response_heads import MalformedResponse, check
from authotron.net.tls import Trust
from authotron.testing.remotes import start
from tests.net.test_tls import Wire

LENGTH = b"Content-Length: 2\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BODIES = {CHUNKED: b"2\r\n{}\r\n0\r\n\r\n"}


def status(line: bytes, fields: bytes = LENGTH, body: bytes = b"{}") -> bytes:
    return line + b"\r\n" + fields + b"\r\n" + body


def fields(*lines: bytes, line: bytes = b"HTTP/1.1 200 OK", body: bytes = b"{}") -> bytes:
    return status(line, b"".join(each + b"\r\n" for each in lines), body)


GOOD = {
    "usual": status(b"HTTP/1.1 200 OK"),
    "older": status(b"HTTP/1.0 200 OK"),
    "no phrase": status(b"HTTP/1.1 200 "),
    "no blank either": status(b"HTTP/1.1 200"),
    "another alphabet": status("HTTP/1.1 200 schön".encode()),
    "chunked": status(b"HTTP/1.1 200 OK", CHUNKED, BODIES[CHUNKED]),
    "chunked in capitals": fields(b"TRANSFER-ENCODING: Chunked", body=BODIES[CHUNKED]),
    "the same length twice": fields(b"Content-Length: 2", b"content-length:2"),
    "the same length in a list": fields(b"Content-Length: 2, 2"),
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + status(b"HTTP/1.1 200 OK"),
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + status(b"HTTP/1.1 200 OK"),
    "empty field": fields(b"X:", b"Content-Length: 2"),
    "longest name": fields(b"A" * 256 + b": 2", b"Content-Length: 2"),
    "tab and others": fields(b"X:\ta\tb \xe9 ", b"Content-Length:\t2 "),
}
"""What is an answer."""

BAD = {
    "0.9": status(b"HTTP/0.9 200 OK"),
    "2.0": status(b"HTTP/2.0 200 OK"),
    "2": status(b"HTTP/2 200 OK"),
    "1.2": status(b"HTTP/1.2 200 OK"),
    "1.10": status(b"HTTP/1.10 200 OK"),
    "01.1": status(b"HTTP/01.1 200 OK"),
    "+1.1": status(b"HTTP/+1.1 200 OK"),
    "1.1 in other digits": status("HTTP/1.\u0661 200 OK".encode()),
    "1_1.1": status(b"HTTP/1_1.1 200 OK"),
    "another protocol": status(b"FOO/1.1 200 OK"),
    "small letters": status(b"http/1.1 200 OK"),
    "icy": status(b"ICY 200 OK"),
    "no version": status(b"HTTP 200 OK"),
    "blank before": status(b" HTTP/1.1 200 OK"),
    "line before": b"\r\n" + status(b"HTTP/1.1 200 OK"),
    "two blanks": status(b"HTTP/1.1  200 OK"),
    "tab": status(b"HTTP/1.1\t200 OK"),
    "four digits": status(b"HTTP/1.1 0200 OK"),
    "two digits": status(b"HTTP/1.1 20 OK"),
    "plus": status(b"HTTP/1.1 +200 OK"),
    "minus": status(b"HTTP/1.1 -200 OK"),
    "underscore": status(b"HTTP/1.1 2_00 OK"),
    "zero": status(b"HTTP/1.1 000 OK"),
    "600": status(b"HTTP/1.1 600 OK"),
    "glued": status(b"HTTP/1.1 200OK"),
    "null": status(b"HTTP/1.1 200 O\0K"),
    "no status": status(b"HTTP/1.1 OK"),
    "return in the line": status(b"HTTP/1.1 200 O\rK"),
    "line feeds": status(b"HTTP/1.1 200 OK").replace(b"\r\n", b"\n"),
    "one line feed": b"HTTP/1.1 200 OK\n" + LENGTH + b"\r\n{}",
    "line feed in the fields": fields(b"A: b\nContent-Length: 2"),
    "line feed before the body": b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\n{}",
    "return in a field": fields(b"A: b\rContent-Length: 2", b"Content-Length: 2"),
    "blank before the colon": fields(b"Content-Length : 2"),
    "folded": fields(b"A: b", b" c", b"Content-Length: 2"),
    "folded length": fields(b"Content-Length:", b" 2"),
    "no colon": fields(b"Content-Length 2", b"Content-Length: 2"),
    "no name": fields(b": 2", b"Content-Length: 2"),
    "long name": fields(b"A" * 257 + b": 2", b"Content-Length: 2"),
    "null in a field": fields(b"A: \0", b"Content-Length: 2"),
    "both lengths": fields(b"Content-Length: 2", CHUNKED.strip(), body=BODIES[CHUNKED]),
    "both, other order": fields(CHUNKED.strip(), b"Content-Length: 2", body=BODIES[CHUNKED]),
    "two lengths": fields(b"Content-Length: 2", b"Content-Length: 3"),
    "two lengths in a list": fields(b"Content-Length: 2, 3"),
    "two spellings of a length": fields(b"Content-Length: 2", b"Content-Length: 02"),
    "empty length": fields(b"Content-Length:"),
    "half a list": fields(b"Content-Length: 2,"),
    "negative length": fields(b"Content-Length: -2"),
    "signed length": fields(b"Content-Length: +2"),
    "hexadecimal length": fields(b"Content-Length: 0x2"),
    "length with a unit": fields(b"Content-Length: 2;a"),
    "endless length": fields(b"Content-Length: " + b"2" * 16),
    "coded twice": fields(b"Transfer-Encoding: chunked, chunked", body=BODIES[CHUNKED]),
    "coded in two lines": fields(CHUNKED.strip(), CHUNKED.strip(), body=BODIES[CHUNKED]),
    "chunked and identity": fields(CHUNKED.strip(), b"Transfer-Encoding: identity"),
    "compressed": fields(b"Transfer-Encoding: gzip, chunked", body=BODIES[CHUNKED]),
    "identity": fields(b"Transfer-Encoding: identity"),
    "odd coding": fields(b"Transfer-Encoding: xchunked", body=BODIES[CHUNKED]),
    "chunked in 1.0": fields(CHUNKED.strip(), line=b"HTTP/1.0 200 OK", body=BODIES[CHUNKED]),
    "another protocol switched to": b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n{}",
    "odd interim": b"HTTP/1.1 100 Continue\r\nA : b\r\n\r\n" + status(b"HTTP/1.1 200 OK"),
    "no end of interim": b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + status(b"HTTP/1.1 200 OK"),
    "no end of fields": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000 + LENGTH + b"\r\n{}",
}
"""What is none."""


class Server:
    """A server in memory, and the endpoint that connects to it."""

    def __init__(self) -> None:
        self.connections = 0

    def connect(self, factory: Any) -> Deferred[Any]:
        self.connections += 1
        self.client = factory.buildProtocol(None)
        self.wire = Wire()
        self.client.makeConnection(self.wire)
        return succeed(self.client)

    def say(self, *pieces: bytes) -> None:
        """Send bytes, and close the connection if the client did."""
        for piece in pieces:
            self.client.dataReceived(piece)
        if self.wire.disconnecting:
            self.client.connectionLost(Failure(ConnectionAborted()))


class HeadTests(SynchronousTestCase):
    """A single response head."""

    def test_any_bytes(self) -> None:
        """Bytes that are not a response head are rejected, and never cause another error."""

        @given(st.binary())
        def whatever(head: bytes) -> None:
            with contextlib.suppress(MalformedResponse):
                self.assertEqual(len(check(head)), 3)

        whatever()


class ResponseTests(SynchronousTestCase):
    """A request whose response arrives over a connection."""

    def setUp(self) -> None:
        self.clock, self.server = Clock(), Server()
        agents = Connections(self.clock, lambda host, port, /: self.server)  # type: ignore[arg-type] # as much as is needed
        self.web = WebClient(self.clock, agents, Trust(), 3, Breakers())

    def ask(self, *pieces: bytes) -> Deferred[Any]:
        asking = start(self.web.get("http://a.example/"))
        self.server.say(*pieces)
        return asking

    def answer(self, *pieces: bytes) -> RemoteResponse:
        answer: RemoteResponse = self.successResultOf(self.ask(*pieces))
        return answer

    def test_valid_responses_T69f(self) -> None:
        """Valid responses are read, in pieces of any size, after interim responses."""
        for name, answer in GOOD.items():
            for size in (1, 2, 7, len(answer)):
                with self.subTest(name, size=size):
                    self.setUp()
                    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
                    read = self.answer(*pieces)
                    self.assertEqual((read.status, read.json_object()), (200, {}))

    def test_malformed_responses_T69f(self) -> None:
        """
        A version other than 1.0 or 1.1, a malformed line, or two lengths are an outage at
        once, and the connection is closed.
        """
        for name, answer in BAD.items():
            for size in (3, len(answer)):
                with self.subTest(name, size=size):
                    self.setUp()
                    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
                    failure = self.failureResultOf(self.ask(*pieces), Unavailable)
                    self.assertRegex(str(failure.value), "^http://a.example/ [a-z]")
                    self.assertNotIn("connection lost", str(failure.value))
                    self.assertTrue(self.server.wire.disconnecting)

    def test_every_response_is_checked_T69f(self) -> None:
        """Each response on a kept connection is checked."""
        for _ in range(3):
            self.assertEqual(self.answer(GOOD["usual"]).status, 200)
        self.assertEqual(self.server.connections, 1)
        self.failureResultOf(self.ask(BAD["0.9"]), Unavailable)
        self.assertEqual(self.answer(GOOD["usual"]).status, 200)
        self.assertEqual(self.server.connections, 2)

    def test_surplus_response_T69f(self) -> None:
        """A second response to one request is never given to the next request."""
        forged = status(b"HTTP/1.1 200 OK", b"Content-Length: 7\r\n", b'{"a":1}')
        for pieces in ([GOOD["usual"] + forged], [GOOD["usual"], forged]):
            self.setUp()
            self.assertEqual(self.answer(*pieces).json_object(), {})
            self.assertEqual(self.answer(GOOD["usual"]).json_object(), {})

    def lose_connection(self, reason: type[Exception] = ConnectionDone) -> None:
        self.server.client.connectionLost(Failure(reason()))

    def test_server_that_closes_H_10(self) -> None:
        """A connection that the server closes after its response is not used again."""
        for answer in (
            fields(b"Content-Length: 2", line=b"HTTP/1.0 200 OK"),
            fields(b"Content-Length: 2", b"Connection: close"),
            fields(b"Content-Length: 2", b"connection:Close"),
            fields(b"Content-Length: 2", b"Connection: x, CLOSE"),
            fields(b"Content-Length: 2", b"Connection: keep-alive", b"Connection: close"),
        ):
            with self.subTest(answer):
                self.setUp()
                self.answer(answer)
                self.assertEqual(self.answer(answer).json_object(), {})
                self.assertEqual(self.server.connections, 2)

    def test_end_of_connection_is_end_of_body_H_10(self) -> None:
        """A response without a length, as of HTTP/1.0, ends with its connection."""
        for line in (b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK"):
            asking = self.ask(status(line, b""))
            self.lose_connection()
            self.assertEqual(self.successResultOf(asking).json_object(), {})

    def test_kept_by_1_0_H_10(self) -> None:
        """A connection of HTTP/1.0 is used again if the server keeps it alive."""
        for _ in range(2):
            self.answer(
                fields(b"Content-Length: 2", b"Connection: Keep-Alive", line=b"HTTP/1.0 200")
            )
        self.assertEqual(self.server.connections, 1)

    def test_closed_after_a_request_H_10(self) -> None:
        """A server that closes a connection in use has failed; the request is not repeated."""
        self.answer(GOOD["usual"])
        self.clock.advance(0.9)
        asking = self.ask()
        self.lose_connection()
        self.failureResultOf(asking, Unavailable)
        self.assertEqual(self.server.connections, 1)

    def test_reset_after_a_request_H_10(self) -> None:
        """A server that resets a connection has not read the request, which is sent once more."""
        self.answer(GOOD["usual"])
        asking = self.ask()
        self.lose_connection(ConnectionLost)
        self.server.say(GOOD["usual"])
        self.assertEqual(self.successResultOf(asking).json_object(), {})
        self.assertEqual(self.server.connections, 2)

    def test_server_that_closed_a_kept_connection_H_10(self) -> None:
        """
        For a minute after a server closed a kept connection, each request to the server has a
        connection of its own.
        """
        self.answer(GOOD["usual"])
        asking = self.ask()
        self.lose_connection()
        self.failureResultOf(asking, Unavailable)
        for _ in range(3):
            self.answer(GOOD["usual"])
        self.assertEqual(self.server.connections, 4)
        self.clock.advance(60)
        for _ in range(3):
            self.answer(GOOD["usual"])
        self.assertEqual(self.server.connections, 5)

    def test_connection_of_its_own_H_10(self) -> None:
        """A request can ask for a new connection, which no other request uses."""
        self.answer(GOOD["usual"])
        kept = self.server.client
        asking = start(self.web.get("http://a.example/", new_connection=True))
        sent = self.server.wire.value().lower()
        self.assertEqual(sent.count(b"connection: close"), 1)
        self.server.say(GOOD["usual"])
        self.assertEqual(self.successResultOf(asking).json_object(), {})
        self.assertEqual(self.server.connections, 2)
        asking = start(self.web.get("http://a.example/"))
        kept.dataReceived(GOOD["usual"])
        self.assertEqual(self.successResultOf(asking).json_object(), {})
        self.assertEqual(self.server.connections, 2)

    def test_closed_while_unused_H_10(self) -> None:
        """A GET on a kept connection that the server closed is sent once more, on a new one."""
        self.answer(GOOD["usual"])
        self.clock.advance(1)
        asking = self.ask()
        self.lose_connection()
        self.assertEqual(self.server.connections, 2)
        self.assertIn(b"GET / HTTP/1.1", self.server.wire.value())
        self.server.say(GOOD["usual"])
        self.assertEqual(self.successResultOf(asking).json_object(), {})

    def test_repeated_once_H_10(self) -> None:
        """A request is repeated once only, and not at all on a connection that was new."""
        asking = self.ask()
        self.lose_connection()
        self.failureResultOf(asking, Unavailable)
        self.answer(GOOD["usual"])
        self.clock.advance(1)
        asking = self.ask()
        self.lose_connection()
        self.lose_connection()
        self.failureResultOf(asking, Unavailable)
        self.assertEqual(self.server.connections, 3)

    def test_begun_response_H_10(self) -> None:
        """A request is not repeated after the first byte of a response."""
        for begun in (b"H", b"HTTP/1.1 100 Continue\r\n\r\n"):
            self.setUp()
            self.answer(GOOD["usual"])
            self.clock.advance(1)
            asking = self.ask(begun)
            self.lose_connection()
            self.failureResultOf(asking, Unavailable)
            self.assertEqual(self.server.connections, 1)

    def test_posts_H_10(self) -> None:
        """A POST is repeated only if its caller says that it may be sent twice."""
        for repeatable, connections in ((False, 1), (True, 2)):
            self.setUp()
            self.answer(GOOD["usual"])
            self.clock.advance(1)
            asking = start(
                self.web.post("http://a.example/", form={"a": "b"}, repeatable=repeatable)
            )
            self.lose_connection()
            self.assertEqual(self.server.connections, connections)
            if repeatable:
                self.assertTrue(self.server.wire.value().endswith(b"\r\n\r\na=b"))
                self.server.say(GOOD["usual"])
                self.successResultOf(asking)
            else:
                self.failureResultOf(asking, Unavailable)

    def test_cancelled_on_a_kept_connection_H_10(self) -> None:
        """A request that is cancelled is not repeated."""
        self.answer(GOOD["usual"])
        self.clock.advance(1)
        asking = self.ask()
        asking.cancel()
        self.lose_connection()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(self.server.connections, 1)

    def test_connection_ends_in_the_head(self) -> None:
        """A connection that ends within the head is an outage; so is a cancelled one."""
        asking = self.ask(b"HTTP/1.1 200 OK\r\nContent-")
        self.assertNoResult(asking)
        self.server.client.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(asking, Unavailable)
