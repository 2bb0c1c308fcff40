"""Answers of proxies are read without an exception, whatever they are."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from authotron.probe import answers, echo
from authotron.probe.answers import Echo

NONCE = "0123456789abcdef00000001"
OK = b"HTTP/1.1 200 OK\r\n"


class ParseTests(SynchronousTestCase):
    """Reading what a connection received."""

    def bodies(self, data: bytes, method: bytes = b"GET", *, ended: bool = True) -> list[bytes]:
        return [each.body for each in answers.parse(data, method, ended=ended)]

    def test_bodies(self) -> None:
        """A body ends by its length, its last chunk, or the end of the connection."""
        self.assertEqual(self.bodies(OK + b"Content-Length: 2\r\n\r\nabrest"), [b"ab"])
        chunks = b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1;x=y\r\nb\r\n0\r\n\r\n"
        self.assertEqual(self.bodies(OK + chunks), [b"ab"])
        self.assertEqual(self.bodies(OK + b"\r\nab"), [b"ab"])

    def test_several(self) -> None:
        """Answers that follow one another are all read; informational ones do not count."""
        one = OK + b"Content-Length: 1\r\n\r\na"
        self.assertEqual(self.bodies(b"HTTP/1.1 100 Continue\r\n\r\n" + one + one), [b"a", b"a"])

    def test_bound(self) -> None:
        """Endless informational answers are not read to their end."""
        self.assertEqual(self.bodies(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40_000), [])

    def test_without_body(self) -> None:
        """An answer to HEAD, a 204 and a 304 have no body, whatever they announce."""
        announced = OK + b"Content-Length: 5\r\n\r\n"
        self.assertEqual(self.bodies(announced, b"HEAD"), [b""])
        self.assertEqual(self.bodies(announced.replace(b"200", b"304")), [b""])
        informed = b"HTTP/1.1 100 Continue\r\n\r\n" + announced
        self.assertEqual(self.bodies(informed, b"HEAD", ended=False), [b""])

    def test_incomplete(self) -> None:
        """An answer is incomplete until its body has arrived."""
        for data in (
            b"Content-Length: 5\r\n\r\na",
            b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        ):
            [found] = answers.parse(OK + data, ended=False)
            self.assertFalse(found.complete)

    @given(st.binary(max_size=300) | st.binary(max_size=300).map(OK.__add__))
    def test_any_bytes(self, data: bytes) -> None:
        """No bytes raise an exception."""
        for ended in (True, False):
            for each in answers.parse(data, ended=ended):
                answers.echo_of(each, NONCE)


class EchoTests(SynchronousTestCase):
    """Recognizing the echo backend."""

    def echo(self, body: bytes, head: bytes = b"") -> Echo | None:
        [answer] = answers.parse(OK + head + b"\r\n" + body, ended=True)
        return answers.echo_of(answer, NONCE)

    def test_genuine(self) -> None:
        """The proof makes an answer one of the echo backend."""
        content = {"nonce": NONCE, "proof": echo.proof(NONCE), "head": "GET /a b HTTP/1.1\r\nA: b"}
        found = self.echo(json.dumps({**content, "body": "", "after": ""}).encode())
        assert found is not None
        self.assertEqual((found.target, found.values("a")), ("/a b", ["b"]))

    def test_others(self) -> None:
        """An answer without the right proof is not one of the echo backend."""
        content = {"nonce": NONCE, "proof": "x", "head": "", "body": "", "after": ""}
        for body in (json.dumps(content).encode(), b"[1]", b'"x"', b"[" * 100_000, b"\xff", b""):
            self.assertIsNone(self.echo(body))

    def test_header(self) -> None:
        """Without a body the proof is read from a header."""
        head = f"X-Probe-Echo: {echo.proof(NONCE)}\r\n".encode()
        self.assertEqual(self.echo(b"", head), Echo(NONCE))
