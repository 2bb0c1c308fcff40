"""The echo backend shows what arrived, byte by byte."""

from __future__ import annotations

import json

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from authotron.probe import echo
from authotron.probe.echo import EchoConnection, EchoFactory

NONCE = "0123456789abcdef00000001"
HEAD = b"GET /x HTTP/1.1\r\nHost: h\r\nX-Probe-Mark: authotron-probe-" + NONCE.encode()


class EchoTests(SynchronousTestCase):
    """A connection of a proxy to the echo backend."""

    def setUp(self) -> None:
        self.clock = Clock()
        connection = EchoFactory().buildProtocol(None)
        assert isinstance(connection, EchoConnection)
        setattr(connection, "callLater", self.clock.callLater)  # noqa: B010 - as TimeoutMixin says
        self.connection, self.transport = connection, StringTransport()
        connection.makeConnection(self.transport)

    def answers(self, *pieces: bytes) -> list[bytes]:
        for piece in pieces:
            self.connection.dataReceived(piece)
        received: bytes = self.transport.value()
        return received.split(b"HTTP/1.1 ")[1:]

    def shown(self, *pieces: bytes) -> dict[str, str]:
        [answer] = self.answers(*pieces)
        found: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return found

    def test_bytes_are_shown(self) -> None:
        """The answer has the head as it arrived, and the proof for the nonce."""
        head = HEAD + b"\r\nX-A : \xff\r\n folded\r\n\r\n"
        shown = self.shown(head)
        self.assertEqual(shown["head"].encode("latin-1"), head)
        self.assertEqual((shown["nonce"], shown["proof"]), (NONCE, echo.proof(NONCE)))

    def test_nonce_in_the_path(self) -> None:
        """If the proxy does not pass on the mark, the nonce is read from the path."""
        shown = self.shown(b"GET /authotron-probe-" + NONCE.encode() + b" HTTP/1.1\r\n\r\n")
        self.assertEqual(shown["nonce"], NONCE)

    def test_other_requests_show_nothing(self) -> None:
        """A request without a mark is a 404 that repeats nothing of the request."""
        [answer] = self.answers(b"GET /x HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n\r\n")
        self.assertTrue(answer.startswith(b"404 "))
        self.assertNotIn(b"s3cret", answer)
        self.assertTrue(self.transport.disconnecting)

    def test_head(self) -> None:
        """An answer to HEAD has no body; its header has the proof."""
        [answer] = self.answers(HEAD.replace(b"GET", b"HEAD") + b"\r\n\r\n")
        self.assertTrue(answer.endswith(b"\r\n\r\n"))
        self.assertIn(echo.proof(NONCE).encode(), answer)

    def test_bodies_and_what_follows(self) -> None:
        """A body ends by its length or its last chunk, and what follows is shown as such."""
        for field, body in (
            (b"Content-Length: 5", b"hello"),
            (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
            (b"Transfer-Encoding: chunked", b"0\r\n\r\n"),
            (b"Transfer-Encoding: chunked", b"2;x\r\n\r\n\r\n000\r\nTrailer: x\r\n\r\n"),
        ):
            with self.subTest(body=body):
                self.transport.clear()
                shown = self.shown(HEAD + b"\r\n" + field + b"\r\n\r\n" + body + b"GET /hid")
                self.assertEqual((shown["body"], shown["after"]), (body.decode(), "GET /hid"))
                self.setUp()

    def test_pieces_and_kept_connections(self) -> None:
        """Requests may arrive in pieces, and several on one connection."""
        pieces = [bytes([each]) for each in HEAD + b"\r\n\r\n"]
        self.assertEqual(len(self.answers(*pieces, *pieces)), 2)
        self.assertFalse(self.transport.disconnecting)

    def test_close(self) -> None:
        """A connection is closed if the proxy wants it, or speaks HTTP/1.0."""
        for head in (HEAD + b"\r\nConnection: close", HEAD.replace(b"/1.1", b"/1.0")):
            self.setUp()
            self.assertEqual(len(self.answers(head + b"\r\n\r\n" + head + b"\r\n\r\n")), 1)
            self.assertTrue(self.transport.disconnecting)

    def test_bounds(self) -> None:
        """A connection ends that sends too much, or nothing for a minute."""
        self.answers(b"x" * 300_000)
        self.assertTrue(self.transport.disconnecting)
        self.setUp()
        self.clock.advance(61)
        self.assertTrue(self.transport.disconnecting)
