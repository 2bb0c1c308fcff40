"""Judgements of the probe notice each header in which a header profile names an identity."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.header_templates import PROFILES
from authotron.probe import judges
from authotron.probe.answers import Answer, Echo, Field
from authotron.probe.attack import Control, Judge
from authotron.probe.exchange import Exchange
from authotron.probe.request import Request

NONCE = "0123456789abcdef00000001"
CANARY = f"canary{NONCE}"


def identity_headers() -> Iterator[str]:
    """Yield the identity headers of each header profile, and well-known ones."""
    yield "Authorization"
    for headers in PROFILES.values():
        yield from headers
    yield from ("X-Forwarded-User", "X-Forwarded-Access-Token", "X-Webauth-User")


def echo(*lines: str) -> Echo:
    return Echo(NONCE, "\r\n".join(["GET / HTTP/1.1", *lines, "", ""]))


class IdentityTests(SynchronousTestCase):
    """Headers of all header profiles."""

    def leaked(
        self,
        judge: Judge,
        *lines: str,
        answer: tuple[str, str] = ("server", "x"),
        status: int = 200,
        good: tuple[str, ...] = (),
    ) -> list[str]:
        """Return what a judge finds in an exchange."""
        found = Answer(status, (Field(*answer),), b"", complete=True)
        exchange = Exchange(Request("odd"), NONCE, "/", [found], [echo(*lines)])
        return [*judge(exchange, Control(echo(*good), ("/", "/"), "Basic x"))]

    def test_in_an_answer(self) -> None:
        """A client that gets an identity header, in an answer of any status, is a leak."""
        for name in identity_headers():
            for status in (200, 401):
                answer = (name.lower(), "x")
                found = self.leaked(judges.identity_answered, answer=answer, status=status)
                self.assertEqual(found, [f"{name} (odd, status {status})"])
            self.assertEqual(self.leaked(judges.identity_answered, answer=(name.lower(), "")), [])
        self.assertEqual(self.leaked(judges.identity_answered), [])

    def test_answer_of_the_gateway(self) -> None:
        """A success with any identity header is the answer of the gateway to the proxy."""
        for name in identity_headers():
            answer = (name.lower(), "x")
            self.assertEqual(self.leaked(judges.question_answered, answer=answer), ["odd"], name)
            found = self.leaked(judges.question_answered, answer=answer, status=401)
            self.assertEqual(found, [])
            self.assertEqual(self.leaked(judges.question_answered, answer=(name.lower(), "")), [])
        self.assertEqual(self.leaked(judges.question_answered), [])

    def test_lost(self) -> None:
        """An identity header that an ordinary request has, and this request lacks, is lost."""
        for name in identity_headers():
            good = (f"{name}: x",)
            self.assertEqual(self.leaked(judges.identity_lost, good=good), [name])
            self.assertEqual(self.leaked(judges.identity_lost, f"{name}:", good=good), [name])
            self.assertEqual(self.leaked(judges.identity_lost, f"{name}: y", good=good), [])
        self.assertEqual(self.leaked(judges.identity_lost, good=("X-Other: x",)), [])

    def test_folded(self) -> None:
        """An identity header that the backend gets for a folded line is named."""
        for name in identity_headers():
            self.assertEqual(self.leaked(judges.folded, f"{name}: {CANARY}"), [name])
        self.assertEqual(self.leaked(judges.folded, f"X-Other: {CANARY}"), [])

    def test_malformed(self) -> None:
        """An identity header from a malformed line is named, and the request if the line stays."""
        for name in identity_headers():
            self.assertEqual(self.leaked(judges.odd_field, f"{name}: {CANARY}"), [name])
            self.assertEqual(self.leaked(judges.odd_field, f"{name} : {CANARY}"), ["odd"])
        self.assertEqual(self.leaked(judges.odd_field, f"X-Other: {CANARY}"), [])
