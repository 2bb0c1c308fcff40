"""Which token a request has, and what its errors say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.client import Forbidden, InvalidToken, NoToken, Unavailable
from authotron.client.bearer import bearer_token
from authotron.client.errors import REASONS


class BearerTests(SynchronousTestCase):
    """The Authorization headers of a request."""

    def test_token(self) -> None:
        """The scheme is written in upper or lower case."""
        for value in ("Bearer a.b-c.d_e", "bearer a.b-c.d_e", "BEARER  a.b-c.d_e "):
            self.assertEqual(bearer_token([value]), "a.b-c.d_e")

    def test_one_value(self) -> None:
        """The value of the only header may be given as it is, and its absence as None."""
        self.assertEqual(bearer_token("Bearer a.b.c"), "a.b.c")
        self.assertRaises(NoToken, bearer_token, None)
        self.assertRaises(NoToken, bearer_token, "")

    def test_missing(self) -> None:
        """Without a header, or with another scheme, there is no token."""
        values: list[list[str]] = [[], [""], ["Bearer"], ["Bearer "], ["Basic YTpi"], ["Bearerabc"]]
        for fields in values:
            self.assertRaises(NoToken, bearer_token, fields)

    def test_ambiguous(self) -> None:
        """Several headers, or several credentials in one, are refused."""
        for fields in (["Bearer a", "Bearer a"], ["Bearer a, Bearer b"], ["Bearer a b"]):
            self.assertRaises(InvalidToken, bearer_token, fields)


class ErrorTests(SynchronousTestCase):
    """What the client of a service learns."""

    def test_challenges(self) -> None:
        """A 401 has a challenge, which names the reason only if there was a token (RFC 6750)."""
        self.assertEqual(NoToken().headers["WWW-Authenticate"], "Bearer")
        for code, text in REASONS.items():
            challenge = f'Bearer error="invalid_token", error_description="{text}"'
            self.assertEqual(InvalidToken(code).headers["WWW-Authenticate"], challenge)

    def test_forbidden(self) -> None:
        """A 403 names the missing scopes, and keeps the roles for the log."""
        error = Forbidden(roles=["admin", "owner"], scopes=["read"])
        self.assertIn("one of the roles admin, owner and the scopes read", str(error))
        self.assertIn('scope="read"', error.headers["WWW-Authenticate"])
        self.assertNotIn("WWW-Authenticate", Forbidden(roles=["admin"]).headers)

    def test_fault(self) -> None:
        """The status says whose fault it is."""
        self.assertEqual(
            [each.status for each in (NoToken, InvalidToken, Forbidden, Unavailable)],
            [401, 401, 403, 503],
        )
        self.assertEqual(Unavailable("x", 7).headers["Retry-After"], "7")
