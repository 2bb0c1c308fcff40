"""The end of a request by RFC 9112, on the fast path and on the site."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.web.framing import Chunks, MalformedRequest
from tests import STREAMS
from tests.web.conversations import ALICE, Answer, InMemoryGateway, answered
from tests.web.streams import CHUNKED_BODIES

GOOD = f"Authorization: {ALICE}".encode()
NEXT = b"GET /authenticate HTTP/1.1\r\nHost: gate\r\n" + GOOD + b"\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
READ = b"POST /tokens/revoke HTTP/1.1"
"""The request line of a route that reads the body."""


def request(
    *fields: bytes, line: bytes = b"GET /authenticate HTTP/1.1", body: bytes = b""
) -> bytes:
    """Return a request with a host; without arguments it is valid."""
    return b"\r\n".join([line, b"Host: gate", GOOD, *fields, b"", body])


class Letter(SynchronousTestCase):
    """A gateway with two ways to ask it: fast path and site."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway({"logging": {"access": "none"}})

    def answers(self, data: bytes) -> list[tuple[list[Answer], bool]]:
        """Return the replies, and whether the connection is closed, of both paths."""
        found = []
        for site in (self.gateway.entrance, self.gateway.public):
            for size in (len(data), 1):
                channel, wire = self.gateway.connect(site)
                for at in range(0, len(data), size):
                    if not (wire.disconnecting or wire.half_closed):
                        channel.dataReceived(data[at : at + size])
                found.append((answered(wire.value()), wire.disconnecting or wire.half_closed))
        return found

    def refused(self, data: bytes, status: int = 400) -> None:
        """Check that a request is refused, and that the request behind it is not read."""
        for answers, ended in self.answers(data + NEXT * 2):
            self.assertEqual([each.status for each in answers], [status], data)
            self.assertEqual(answers[0].headers["connection"], "close", data)
            self.assertTrue(ended, data)

    def served(self, data: bytes, status: int = 200) -> None:
        """Check that a request and the one behind it are answered."""
        for answers, _ in self.answers(data + NEXT):
            self.assertEqual([each.status for each in answers], [status, 200], data)

    def read(self, data: bytes) -> None:
        """Check that a body is read to its end, and that the request behind it is answered."""
        self.served(data, 503)  # there is no token store


class MethodTests(Letter):
    """Methods are case-sensitive."""

    def test_lower_case_T92e(self) -> None:
        """A method in another case is a 405 with the methods of the path."""
        for method in (b"get", b"Get", b"gET", b"head", b"Head", b"post"):
            data = request(line=method + b" /authenticate HTTP/1.1")
            self.served(data, 405)
            for [first, _], _ in self.answers(data + NEXT):
                self.assertEqual(first.headers["allow"], "GET, HEAD")
                self.assertNotIn("authorization", first.headers)

    def test_other_routes_T92e(self) -> None:
        """A method in another case is a 405 for API tokens and on the metrics port."""
        for line, status in (
            (b"delete /token/x HTTP/1.1", 405),
            (b"post /tokens/revoke HTTP/1.1", 405),
            (b"patch /tokens/x HTTP/1.1", 405),
            (b"get /nowhere HTTP/1.1", 404),
        ):
            self.served(request(line=line), status)
        [answer] = self.gateway.say(request(line=b"get /metrics HTTP/1.1"), self.gateway.operations)
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD"))

    def test_not_a_token_T92e(self) -> None:
        """A malformed method or request target is a 400."""
        for line in (
            b"G@T /authenticate HTTP/1.1",
            b"GET, /authenticate HTTP/1.1",
            b"G\xc3\x8bT /authenticate HTTP/1.1",
            b"GET /auth\x7fenticate HTTP/1.1",
            b"GET /auth\xa0enticate HTTP/1.1",
            b"GET /auth\x00enticate HTTP/1.1",
            b"GET /authenticate http/1.1",
            b"GET /authenticate HTTP/1.1\t",
        ):
            self.refused(request(line=line))


class HostTests(Letter):
    """The field C{Host}."""

    def test_missing_T92a(self) -> None:
        """HTTP/1.1 without C{Host} is a 400 on every path, and the connection is closed."""
        for line in (b"GET /authenticate", b"HEAD /auth", b"GET /whoami", b"GET /health"):
            self.refused(line + b" HTTP/1.1\r\n" + GOOD + b"\r\n\r\n")
            self.refused(line + b" HTTP/1.1\r\n\r\n")

    def test_missing_at_metrics_T92a(self) -> None:
        """HTTP/1.1 without C{Host} is a 400 on the metrics port."""
        [answer] = self.gateway.say(b"GET /metrics HTTP/1.1\r\n\r\n", self.gateway.operations)
        self.assertEqual((answer.status, answer.headers["connection"]), (400, "close"))

    def test_older_T92a(self) -> None:
        """HTTP/1.0 needs no C{Host}."""
        for answers, ended in self.answers(
            b"GET /authenticate HTTP/1.0\r\n" + GOOD + b"\r\n\r\n" + NEXT
        ):
            self.assertEqual(([each.status for each in answers], ended), ([200], True))

    def test_invalid_T92a(self) -> None:
        """Two C{Host} fields, even equal ones, or a malformed one, are a 400."""
        for fields in (
            b"Host: gate\r\nHost: gate",
            b"Host: gate\r\nHost: other",
            b"Host: gate\r\nhost:",
            b"Host:\r\nHost:",
            b"Host: a b",
            b"Host: a, b",
            b"Host: user@gate",
            b"Host: gate/path",
            b"Host: http://gate",
            b"Host: gate:port",
            b"Host: gate:-1",
            b"Host: [::1",
            b"Host: [:::]",
            b"Host: [1.2.3.4]",
            b"Host: [::1]x",
            b"Host: a..b",
        ):
            self.refused(b"GET /authenticate HTTP/1.1\r\n" + fields + b"\r\n" + GOOD + b"\r\n\r\n")

    def test_valid_T92a(self) -> None:
        """Names, addresses and nothing are valid hosts, with or without a port."""
        for host in (
            b"",
            b"gate",
            b"gate.",
            b"gate:8080",
            b"127.0.0.1",
            b"[::1]:8080",
            b"[::ffff:1.2.3.4]",
        ):
            self.served(
                b"GET /authenticate HTTP/1.1\r\nHost: " + host + b"\r\n" + GOOD + b"\r\n\r\n"
            )


class LengthTests(Letter):
    """The length of a body."""

    def test_identity_T75a(self) -> None:
        """The obsolete transfer coding C{identity} is a 400, beside a length or alone."""
        for coding in (b"identity", b"Identity", b"identity, identity"):
            field = b"Transfer-Encoding: " + coding
            self.refused(request(field))
            self.refused(request(field, b"Content-Length: 3", body=b"abc"))
            self.refused(request(b"Content-Length: 3", field, body=b"abc"))

    def test_codings_T98(self) -> None:
        """Only the transfer coding C{chunked} is accepted: once, alone, in one field."""
        body = b"3\r\nabc\r\n0\r\n\r\n"
        for codings in (
            (b"chunked", b"identity"),
            (b"identity", b"chunked"),
            (b"chunked", b"chunked"),
            (b"chunked", b""),
            (b"", b"chunked"),
            (b"chunked, chunked",),
            (b"chunked, identity",),
            (b"gzip, chunked",),
            (b"x, chunked",),
            (b"chunked;q=1",),
            (b"chunked,",),
            (b",chunked",),
            (b"chunke",),
            (b"\x0bchunked",),
            (b'"chunked"',),
            (b"",),
        ):
            fields = [b"Transfer-Encoding: " + coding for coding in codings]
            self.refused(request(*fields, body=body))

    def test_older_T98(self) -> None:
        """A transfer coding with HTTP/1.0 is a 400."""
        self.refused(request(CHUNKED, line=b"GET /authenticate HTTP/1.0", body=b"0\r\n\r\n"))

    def test_both_T75a(self) -> None:
        """A length and a transfer coding together are a 400, in either order."""
        for fields in (
            (b"Content-Length: 5", CHUNKED),
            (CHUNKED, b"Content-Length: 5"),
            (CHUNKED, b"Content-Length: 0"),
            (CHUNKED, b"Content-Length:"),
        ):
            self.refused(request(*fields, body=b"0\r\n\r\n"))

    def test_lengths_T75a(self) -> None:
        """A length that is duplicate or not digits is a 400."""
        for value in (
            b"+5",
            b"-5",
            b"0x5",
            b"5a",
            b"5_0",
            b"5 5",
            b"5, 5",
            b"5,5",
            b"5.0",
            b"",
            b"\x0b5",
            b"\xc2\xb5",
            b'"5"',
        ):
            self.refused(request(b"Content-Length: " + value, body=b"abcde"))
        for first, second in ((b"5", b"5"), (b"5", b"6"), (b"0", b"5"), (b"", b"5"), (b"5", b"")):
            fields = (b"Content-Length: " + first, b"content-length: " + second)
            self.refused(request(*fields, body=b"abcde"))

    def test_blanks_T75a(self) -> None:
        """Blanks around a length are ignored (RFC 9110 section 5.5)."""
        for value in (b"5", b"5 ", b"\t5", b"005"):
            self.read(request(b"Content-Length: " + value, line=READ, body=b"abcde"))
        self.read(request(b"Transfer-Encoding: \tChunked ", line=READ, body=b"0\r\n\r\n"))

    def test_lines_T98(self) -> None:
        """Other line ends, blanks before a colon, folded lines and NUL are a 400."""
        for field in (
            b"Content-Length : 5",
            b"Transfer-Encoding\t: chunked",
            b"Transfer-Encoding:\r\n chunked",
            b"X: y\r\n\tContent-Length: 5",
            b"X: y\nContent-Length: 5",
            b"X: y\rContent-Length: 5",
            b"X: a\x00b",
            b"X\x00: y",
            b": y",
            b"no colon",
        ):
            self.refused(request(field, body=b"abcde"))
        self.refused(request().replace(b"\r\n", b"\n"))


class ChunkTests(Letter):
    """Chunked bodies."""

    def chunked(self, body: bytes) -> bytes:
        return request(CHUNKED, line=READ, body=body)

    def test_good(self) -> None:
        """Every chunked body that the grammar allows is read."""
        for body in (
            b"0\r\n\r\n",
            b"000\r\n\r\n",
            b"3\r\nabc\r\n0\r\n\r\n",
            b'a;name=value;other="quoted; text"; third\r\n0123456789\r\n0;last\r\n\r\n',
            b"3\r\n\r\n\r\r\n0\r\n\r\n",
            b"0\r\nTrailer: x\r\nAnother:\r\n\r\n",
        ):
            self.read(self.chunked(body))

    def test_sizes_T98(self) -> None:
        """The size of a chunk is 1 to 16 hexadecimal digits."""
        for size in (
            b"+3",
            b"-3",
            b"0x3",
            b"3 ",
            b" 3",
            b"\t3",
            b"1_0",
            b"3 ;x",
            b"3;",
            b"3;=x",
            b"3;x=",
            b"3;x=a b",
            b'3;x="a',
            b"3;x\x00",
            b"3;x\n",
            b"3\n",
            b"3\r",
            b"",
            b"g",
            b"\xc2\xb3",
            b"0" * 17,
        ):
            self.refused(self.chunked(size + b"\r\nabc\r\n0\r\n\r\n"))

    def test_huge_T98(self) -> None:
        """A chunk above the largest body is a 413 before its content was received."""
        for body in (b"10001\r\n", b"ffffffffffffffff\r\n", b"1\r\na\r\n10000\r\n"):
            self.refused(self.chunked(body), 413)

    def test_ends_T98(self) -> None:
        """A chunk ends with CR LF, and nothing else."""
        for end in (b"\n", b"\r", b"\n\n", b"", b"d\r\n", b"\r\r\n", b" \r\n"):
            self.refused(self.chunked(b"3\r\nabc" + end + b"0\r\n\r\n"))

    def test_no_empty_line_T98(self) -> None:
        """If the empty line behind the last chunk is missing, the next request is refused."""
        self.refused(self.chunked(b"0\r\n"))
        self.refused(self.chunked(b"3\r\nabc\r\n0\r\n"))
        self.refused(self.chunked(b"0\r\nTrailer: x\r\n"))
        absolute = b"GET http://gate/authenticate HTTP/1.1\r\nHost: gate\r\n\r\n"
        self.refused(self.chunked(b"0\r\n" + absolute))

    def test_trailers_T98(self) -> None:
        """Trailers have the grammar of header fields."""
        for line in (b" x: y", b"x : y", b"x", b"x: a\nb", b"x: a\rb", b"x: \x00", b": y"):
            self.refused(self.chunked(b"0\r\n" + line + b"\r\n\r\n"))

    def test_bounds_T98(self) -> None:
        """Chunk extensions and trailers are limited, in one line and together."""
        self.refused(self.chunked(b"3;x=" + b"y" * 1024 + b"\r\nabc\r\n0\r\n\r\n"))
        self.refused(self.chunked(b"3;x=" + b"y" * 2000))
        self.refused(self.chunked((b"1;x=" + b"y" * 1000 + b"\r\na\r\n") * 9 + b"0\r\n\r\n"))
        self.refused(self.chunked(b"1\r\na\r\n" * 1100 + b"0\r\n\r\n"))
        self.read(self.chunked(b"1\r\na\r\n" * 1000 + b"0\r\n\r\n"))
        self.refused(self.chunked(b"0\r\nx: " + b"y" * 9000 + b"\r\n\r\n"))
        self.refused(self.chunked(b"0\r\n" + (b"x: " + b"y" * 1000 + b"\r\n") * 9 + b"\r\n"))

    def test_smuggled_T98(self) -> None:
        """A request within a body is never answered."""
        inner = b"GET /whoami HTTP/1.1\r\nHost: gate\r\n" + GOOD + b"\r\n\r\n"
        size = b"%x" % len(inner)
        self.read(self.chunked(size + b"\r\n" + inner + b"\r\n0\r\n\r\n"))
        self.read(request(b"Content-Length: %d" % len(inner), line=READ, body=inner))
        self.refused(request(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n" + inner))
        self.refused(request(CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + inner))

    @settings(max_examples=STREAMS)
    @given(CHUNKED_BODIES, some.lists(some.integers(0, 300)))
    def test_pieces_T98(self, body: bytes, places: list[int]) -> None:
        """A body in pieces ends, and is refused, exactly as in one piece."""

        def outcome(pieces: list[bytes]) -> tuple[object, int]:
            chunks, kept, taken = Chunks(1000), b"", 0
            for piece in pieces:
                kept += piece
                try:
                    size = chunks.accept(kept)
                except MalformedRequest as malformed:
                    return malformed.status, 0
                kept, taken = kept[size:], taken + size
            return chunks.ended, taken

        cuts = sorted({place % (len(body) + 1) for place in places})
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        self.assertEqual(outcome(pieces), outcome([body]))


class ConnectionTests(Letter):
    """The field C{Connection}."""

    def test_options_T92a(self) -> None:
        """C{close} is recognized anywhere in the list of C{Connection}."""
        for value in (b"close", b"x, close", b"close, x", b"Close,x", b"x\r\nConnection: close"):
            for answers, ended in self.answers(request(b"Connection: " + value) + NEXT):
                self.assertEqual(([each.status for each in answers], ended), ([200], True), value)
        self.served(request(b"Connection: x close"))
