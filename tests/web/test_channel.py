"""How request heads are read, in pieces and several at once."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http_headers

from authotron.limits.unfinished_heads import UnfinishedHeads
from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.web.channel import LAST_CALL
from tests import STREAMS
from tests.web.conversations import ALICE, InMemoryGateway, Wire, answered
from tests.web.streams import requests

HEALTH = b"GET /health HTTP/1.1\r\nHost: gate\r\n"
GET = HEALTH + b"\r\n"
POST = b"POST /tokens/revoke HTTP/1.1\r\nHost: gate\r\nContent-Length: 5\r\n\r\nGET /"
CHUNKED = (
    b"POST /tokens HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nGET /\r\n0\r\nTrailer: x\r\n\r\n"
)
READ = POST.partition(b"Content-Length")[0]
"""The head of a request whose route reads the body, without its end."""

ASK = f"GET /authenticate HTTP/1.1\r\nHost: gate\r\nAuthorization: {ALICE}\r\n\r\n".encode()

ODD = [
    b"",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\r\n",
    b"\n",
    b"nonsense\r\n\r\n",
    b"nonsense\r\nX: y\r\n\r\n",
    b"GET /health\nHTTP/1.1\r\nHost: gate\r\n\r\n",
    b"GET /health HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\r\nHost: gate\r\n\r\n",
    b"GET /health HTTP/1.0\r\n\r\n",
    b"HEAD /health HTTP/1.1\r\nHost: gate\r\n\r\n",
    HEALTH + b"Connection: close\r\n\r\n",
    HEALTH + b" folded\r\n\r\n",
    HEALTH + b"X: y\r\n\tfolded\r\n\r\n",
    HEALTH + b"no colon\r\n\r\n",
    HEALTH + b"no colon\r\nX: y\r\nX: z\r\n\r\n",
    HEALTH + b"X: y\nZ: z\r\n\r\n",
    HEALTH + b"X: y\r\r\n\r\n",
    HEALTH + b"\r\r\n\r\n",
    HEALTH + b"Content-Length: 0\r\n\r\n",
    HEALTH + b"Content-Length: x\r\n\r\n",
    HEALTH + b"Content-Length: 3\r\n\r\n\r\n\r",
    HEALTH + b"Content-Length: 70000\r\n\r\n",
    HEALTH + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    HEALTH + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    HEALTH + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n\r\n",
    POST,
    CHUNKED,
]
"""Odd heads, and what is none, or has a body that looks like one."""

_DATE = re.compile(rb"Date: [^\r\n]*\r\n")


def statuses(wire: Wire) -> list[int]:
    return [answer.status for answer in answered(wire.value())]


class Connected(SynchronousTestCase):
    """A gateway, and the replies to bytes sent on one new connection to its site."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway()

    def send(self, *pieces: bytes) -> Wire:
        channel, wire = self.gateway.connect()
        for piece in pieces:
            channel.dataReceived(piece)
        return wire

    def bytewise(self, data: bytes, begin: int = 0) -> Wire:
        """Send single bytes, the first C{begin} of them in one piece."""
        return self.send(data[:begin], *(data[at : at + 1] for at in range(begin, len(data))))


class PiecesTests(Connected):
    """A head in pieces gets the same answer as the whole head."""

    def seen(self, wire: Wire) -> tuple[bytes, bool]:
        return _DATE.sub(b"", wire.value()), wire.disconnecting or wire.half_closed

    def test_byte_by_byte_T75(self) -> None:
        """A head in single bytes gets the same answer, and so does what follows it."""
        for odd in ODD:
            for data in (odd + GET, GET + odd + GET + GET):
                with self.subTest(repr(data)):
                    self.assertEqual(self.seen(self.bytewise(data)), self.seen(self.send(data)))

    def test_every_cut_T75(self) -> None:
        """A head in two pieces, cut anywhere, gets the same answer."""
        for odd in (GET, *ODD):
            data = odd + GET
            whole = self.seen(self.send(data))
            known = len(HEALTH) - 2 if odd in ODD and odd.startswith(HEALTH) else 1
            for cut in range(known, len(odd) + 3):
                with self.subTest(f"{data!r}, cut at {cut}"):
                    self.assertEqual(self.seen(self.send(data[:cut], data[cut:])), whole)

    @settings(max_examples=STREAMS)
    @given(some.lists(requests(), min_size=1, max_size=3), some.lists(some.integers(0, 2000)))
    def test_any_T75(self, sent: list[bytes], places: list[int]) -> None:
        """Any bytes, cut anywhere, get the same answer as in one piece."""
        self.gateway.public.unfinished = UnfinishedHeads()  # no connection is ever closed here
        data = b"".join(sent)
        cuts = sorted({place % (len(data) + 1) for place in places})
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        self.assertEqual(self.seen(self.send(*pieces)), self.seen(self.send(data)))

    def test_limits_T75(self) -> None:
        """Each limit holds exactly, in whatever pieces a head is received."""
        for limit in (16_384, 1024):
            self.gateway = InMemoryGateway({"server": {"max_header_bytes": limit}})
            for over in (-30, -2, -1, 0, 1, 2, 3):
                line = b"GET /%b HTTP/1.1" % (b"a" * (limit + over - 14))
                field = HEALTH + b"X: %b" % (b"y" * (limit + over - len(HEALTH) - 7))
                for data in (
                    line + b"\r\n\r\n",
                    line + b"\r\r\n\r\n",
                    line + b"\nX\r\n\r\n",
                    line + b"\r\nX: y\r\n folded\r\n\r\n",
                    field + b"\r\n\r\n",
                    field + b"\r\n\r\n\r\n",
                ):
                    with self.subTest(f"{len(data)} of {limit}: {data[-20:]!r}"):
                        whole = self.seen(self.send(data + GET))
                        begin = limit - 60 if limit > 1024 else 0
                        self.assertEqual(self.seen(self.bytewise(data + GET, begin)), whole)


class LimitsTests(Connected):
    """A head that exceeds a limit is refused before it has ended."""

    def refusals_after(self, data: bytes) -> tuple[int, list[int]]:
        channel, wire = self.gateway.connect()
        begin = max(0, len(data) // 1000 - 1) * 1000
        channel.dataReceived(data[:begin])
        for at in range(begin, len(data)):
            channel.dataReceived(data[at : at + 1])
            if wire.value():
                return at + 1, statuses(wire)
        return len(data), []

    def test_at_once_T75(self) -> None:
        """The first byte beyond a limit is refused at once, and a malformed line when it ends."""
        for data, expected in (
            (b"GET /" + b"a" * 66_000, (65_537, [414])),
            (b"\r\nGET /" + b"a" * 66_000, (65_539, [414])),
            (HEALTH + b"X: " + b"y" * 66_000, (65_537, [431])),
            (HEALTH + b"X: y\r\n" * 10_950, (65_537, [431])),
            (b"GET /health HTTP/1.1\nHost: gate\n\n", (21, [400])),
            (b"\r\nGET /health HTTP/1.1\nHost: gate\n\n", (23, [400])),
            (b"HELO gate\r\n", (11, [400])),
            (b"GET /health\r\n\r\n", (13, [400])),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (16, [400])),
        ):
            with self.subTest(repr(data[:40])):
                self.assertEqual(self.refusals_after(data), expected)

    def test_small_at_once_T75(self) -> None:
        """If heads are limited to less than a request line, so is the request line."""
        self.gateway = InMemoryGateway({"server": {"max_header_bytes": 1024}})
        self.assertEqual(self.refusals_after(b"GET /" + b"a" * 2000), (1025, [414]))
        self.assertEqual(self.refusals_after(HEALTH + b"X: " + b"y" * 2000), (1025, [431]))

    def test_edges_T75(self) -> None:
        """A head that just keeps to each limit is accepted, also in pieces."""
        line = b"GET /%b HTTP/1.1\r\nHost: gate\r\n\r\n" % (b"a" * (65_536 - 30))
        head = HEALTH + b"X: %b\r\n\r\n" % (b"y" * (65_536 - len(HEALTH) - 7))
        self.assertEqual(statuses(self.bytewise(line, 65_000)), [404])
        self.assertEqual(statuses(self.bytewise(head + head, len(head) + 65_000)), [200, 200])

    def test_names_T83a(self) -> None:
        """
        The longest name of a field that the process keeps has 256 bytes.

        Twisted keeps the first 10,000 names that it meets, for good: with long ones a client
        without credentials would take hundreds of megabytes.
        """
        encoder = http_headers._NameEncoder()
        self.patch(http_headers, "_nameEncoder", encoder)
        for length in (256, 257, 10_000):
            field = b"X-" + b"a" * (length - 2) + b": y\r\n"
            trailer = CHUNKED.replace(b"Trailer: x\r\n", field[-8_000:])
            for data, expected in ((HEALTH + field + b"\r\n", [200]), (trailer, [401])):
                for send in (self.send, self.bytewise):
                    self.assertEqual(statuses(send(data)), expected)
        self.assertEqual(max(map(len, encoder._canonicalHeaderCache)), 256)

    def test_many_fields_T84a(self) -> None:
        """A head has 4096 fields at most, because each costs processor time."""
        self.gateway = InMemoryGateway({"server": {"max_header_bytes": 2**20}})
        for number, expected in ((4095, [200]), (4096, [431])):  # beside the host
            self.assertEqual(statuses(self.send(HEALTH + b"X:\r\n" * number + b"\r\n")), expected)

    def test_large_body_T75(self) -> None:
        """A chunked body that is too large is refused, even if its end was received already."""
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        head = READ + b"Transfer-Encoding: chunked\r\n\r\n"
        self.assertEqual(statuses(self.send(head + chunk * 3 + b"0\r\n\r\n" + GET)), [413])

    def test_length_of_many_digits_T75(self) -> None:
        """A length with more digits than C{int()} accepts is a 413."""
        for length in (b"9" * 4300, b"9" * 4301, b"0" * 9000 + b"5"):
            for send in (self.send, self.bytewise):
                wire = send(HEALTH + b"Content-Length: " + length + b"\r\n\r\n" + GET)
                self.assertEqual(statuses(wire), [413])

    def test_not_invited_T75(self) -> None:
        """A client that sends C{Expect} for too large a body gets no C{100 Continue}."""
        expect = b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        self.assertEqual(statuses(self.send(READ + expect % 70_000)), [413])
        self.assertEqual(statuses(self.send(READ + expect % 2)), [100])
        self.assertEqual(statuses(self.send(HEALTH + expect % 2)), [200])


class EmptyLineTests(Connected):
    """Empty lines before a request."""

    def test_one_empty_line(self) -> None:
        """One empty line before each request is skipped."""
        for send in (self.send, self.bytewise):
            self.assertEqual(statuses(send((b"\r\n" + GET) * 3)), [200] * 3)

    def test_two_empty_lines_T75(self) -> None:
        """A second empty line before a request is a 400."""
        for send in (self.send, self.bytewise):
            wire = send(GET + b"\r\n\r\n" + GET)
            self.assertEqual(statuses(wire), [200, 400])
            self.assertTrue(wire.disconnecting)


class PipeliningTests(Connected):
    """Several requests on one connection at once."""

    def answer(self, asked: Deferred[Any]) -> None:
        asked.callback(self.gateway.good(Authentication(Identity("internal", "alice"))))

    def test_many_T75(self) -> None:
        """Hundreds of requests in one piece are answered without recursion."""
        for request, status in ((GET, 200), (POST, 503), (CHUNKED, 401)):
            self.assertEqual(statuses(self.send(request * 200)), [status] * 200)

    def test_bodies_T75(self) -> None:
        """The bytes behind a body are the next request, at once or byte by byte."""
        for data, wanted in (
            (POST + POST + GET, [503, 503, 200]),
            (POST + CHUNKED + GET, [503, 401, 200]),
            (CHUNKED + POST + CHUNKED + GET + GET, [401, 503, 401, 200, 200]),
        ):
            for send in (self.send, self.bytewise):
                self.assertEqual(statuses(send(data)), wanted)

    def test_behind_a_waiting_request_T75(self) -> None:
        """Requests are answered in order, even if the first one waits."""
        for send in (self.send, self.bytewise):
            asked = self.gateway.hold()
            wire = send(POST + ASK + POST + GET)
            self.assertEqual(statuses(wire), [503])
            self.answer(asked)
            self.assertEqual(statuses(wire), [503, 200, 503, 200])

    def test_partial_behind_a_waiting_request(self) -> None:
        """A partial head behind a waiting request is completed by the next bytes."""
        asked = self.gateway.hold()
        channel, wire = self.gateway.connect()
        channel.dataReceived(ASK + GET[:30])
        self.answer(asked)
        channel.dataReceived(GET[30:])
        self.assertEqual(statuses(wire), [200, 200])

    def test_after_the_last_T75(self) -> None:
        """Bytes behind a request that closes the connection are not read."""
        for last in (HEALTH + b"Connection: close\r\n\r\n", b"GET /health HTTP/1.0\r\n\r\n"):
            for send in (self.send, self.bytewise):
                self.assertEqual(statuses(send(GET + last + GET + b"nonsense\r\n\r\n")), [200] * 2)

    def test_after_a_bad_one_T28(self) -> None:
        """Bytes behind a refused request are not read."""
        for bad in (b"nonsense\r\n\r\n", HEALTH + b" folded\r\n\r\n", HEALTH + b"nocolon\r\n\r\n"):
            for send in (self.send, self.bytewise):
                self.assertEqual(statuses(send(GET + bad + GET)), [200, 400])

    def test_nothing_kept_T75(self) -> None:
        """Bytes behind a refused request are not kept in memory."""
        for bad in (b"nonsense\r\n\r\n", b"x" * 66_000, HEALTH + b"Content-Length: 9\r\n\r\n"):
            channel, _ = self.gateway.connect()
            channel.dataReceived(bad)
            for _ in range(10):
                channel.dataReceived(b"x" * 10_000)
            lists = [value for value in vars(channel).values() if isinstance(value, list)]
            kept = [*vars(channel).values(), *(each for some in lists for each in some)]
            sizes = [len(each) for each in kept if isinstance(each, bytes | bytearray)]
            self.assertLess(sum(sizes), 10_000)


class StoppingTests(SynchronousTestCase):
    """Connections while the site stops."""

    def leave_after(self, data: bytes) -> tuple[Any, Wire]:
        gateway = InMemoryGateway()
        channel, wire = gateway.connect()
        channel.dataReceived(data)
        gateway.public.drain()
        return channel, wire

    def test_nothing_begun(self) -> None:
        """A connection without a request is closed at once when the site stops."""
        for data in (b"", b"\r", b"\r\n", GET, POST, GET + b"\r"):
            with self.subTest(repr(data)):
                self.assertTrue(self.leave_after(data)[1].disconnecting)

    def test_never_ended_T75(self) -> None:
        """A partial request has one second to complete when the site stops."""
        gateway = InMemoryGateway()
        channel, wire = gateway.connect()
        channel.dataReceived(GET[:30])
        gateway.public.drain()
        self.assertFalse(wire.disconnecting)
        gateway.clock.advance(LAST_CALL)
        self.assertTrue(wire.disconnecting)

    def test_begun(self) -> None:
        """A partial request that completes is answered when the site stops, and is the last."""
        for request in (GET, POST, CHUNKED):
            ends = [found.start() for found in re.finditer(rb"\n|\Z", request)]
            for cut in sorted({1, *(end + more for end in ends for more in (-1, 0, 1))}):
                if cut >= len(request):
                    continue
                with self.subTest(f"{request!r}, cut at {cut}"):
                    channel, wire = self.leave_after(GET + request[:cut])
                    self.assertFalse(wire.disconnecting)
                    channel.dataReceived(request[cut:] + GET)
                    _, answer = answered(wire.value())
                    self.assertEqual(answer.headers["connection"], "close")
                    self.assertTrue(wire.disconnecting)
