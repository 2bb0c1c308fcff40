"""What a 401 says to browsers and programs, on both ways."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.outcomes import INSUFFICIENT_SCOPE, REFUSED, Outcome
from authotron.web.replies import Replies
from tests.web.conversations import ALICE, Answer, InMemoryGateway, basic

STATIC: dict[str, Any] = {
    "type": "static-token",
    "name": "robots",
    "realm": "robots",
    "tokens": [{"token": "a-token-of-more-than-32-characters", "username": "robot"}],
}
STAFF: dict[str, Any] = {
    "type": "plain",
    "name": "staff",
    "realm": "internal",
    "users": [{"username": "alice", "password": "wonder"}],
}


class ChallengeTests(SynchronousTestCase):
    """The challenge of a 401."""

    def asked(self, credential: str, **auth: Any) -> list[Answer]:
        """Return the answers of both ways, of /authenticate and of /whoami."""
        gateway = InMemoryGateway({"auth": auth, "providers": [STATIC, STAFF]})
        fields = {"Authorization": credential} if credential else {}
        return [
            gateway.ask(f"GET {path}", site, **fields)
            for path in ("/authenticate", "/whoami")
            for site in (gateway.entrance, gateway.public)
        ]

    def challenge(self, credential: str, **auth: Any) -> str:
        """Return the challenge that all of them have."""
        [challenge] = {each.headers["www-authenticate"] for each in self.asked(credential, **auth)}
        return challenge

    def test_default_B_ORDER(self) -> None:
        """Without configuration the challenges are those of auth-o-tron, letter for letter."""
        for credential in ("", "Bearer x", basic("alice", "wrong")):
            self.assertEqual(
                self.challenge(credential), 'Bearer realm="robots", Basic realm="internal"'
            )

    def test_charset_B_LATIN(self) -> None:
        """The charset of names and passwords is said if that is configured."""
        expected = 'Bearer realm="robots", Basic realm="internal", charset="UTF-8"'
        self.assertEqual(self.challenge("", challenge_charset=True), expected)

    def test_basic_first_B_ORDER(self) -> None:
        """Basic is the first challenge if that is configured."""
        expected = 'Basic realm="internal", Bearer realm="robots"'
        self.assertEqual(self.challenge("", challenge_order="basic-first"), expected)

    def test_refused_token_B_ORDER(self) -> None:
        """A refused token is called invalid; without a token there is no error (RFC 6750)."""
        for credential, error in (
            ("Bearer x", ', error="invalid_token"'),
            ("bearer y", ', error="invalid_token"'),
            ("", ""),
            (basic("alice", "wrong"), ""),
        ):
            for _ in range(2):  # also when the refusal is repeated
                self.assertEqual(
                    self.challenge(credential, challenge_errors=True),
                    f'Bearer realm="robots"{error}, Basic realm="internal"',
                )

    def test_accepted_B_ORDER(self) -> None:
        """An accepted credential has no challenge."""
        for answer in self.asked(ALICE, challenge_errors=True, challenge_charset=True):
            self.assertEqual(answer.status, 200)
            self.assertNotIn("www-authenticate", answer.headers)


class ScopeTests(SynchronousTestCase):
    """The reply to a token without a required scope."""

    def test_forbidden_if_configured_B_ORDER(self) -> None:
        """With errors of RFC 6750 a missing scope is a 403 with a challenge; without, a 401."""
        outcome = Outcome(REFUSED, error=INSUFFICIENT_SCOPE)
        plain = Replies("Bearer").authenticate(outcome, None)
        self.assertEqual((plain.status, dict(plain.headers)[b"WWW-Authenticate"]), (401, b"Bearer"))
        challenge = 'Bearer realm="x", error="insufficient_scope"'
        replies = Replies("Bearer", error_challenges={INSUFFICIENT_SCOPE: challenge})
        reply = replies.authenticate(outcome, None)
        self.assertEqual(reply.status, 403)
        self.assertEqual(dict(reply.headers)[b"WWW-Authenticate"], challenge.encode())
