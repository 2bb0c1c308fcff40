"""What every integration answers, whatever the framework."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from authotron.client import User, Verifier
from authotron.client.testing import FakeGateway, SigningKey

ALICE = User("internal", "alice", ("reader",), {"archive": ("read",)}, {"unit": "x"})
ADMIN = User("internal", "root", ("admin", "reader"))
AUDIENCE = "archive"
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Reply:
    """The response of a service, with the names of its headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


def bearer(token: str) -> Headers:
    return [("Authorization", f"Bearer {token}")]


def bad_tokens(gateway: FakeGateway) -> dict[str, str]:
    """JWTs that no service may believe, by what is wrong with them."""
    other = FakeGateway(audience=AUDIENCE, key=SigningKey("test", "ES256", _OTHER.material))
    head, claims, signature = gateway.mint(ALICE).split(".")
    _, others, _ = gateway.mint(ADMIN).split(".")
    return {
        "expired": gateway.mint(ALICE, lifetime=-60),
        "for another audience": gateway.mint(ALICE, audience="web"),
        "for no audience": gateway.mint(ALICE, aud=None),
        "signed with another key": other.mint(ALICE),
        "signed with an unknown key": FakeGateway(
            audience=AUDIENCE, key=SigningKey.generate("ES256", "other")
        ).mint(ALICE),
        "of another issuer": gateway.mint(ALICE, issuer="https://other.test"),
        "with other claims": f"{head}.{others}.{signature}",
        "without a signature": f"{head}.{claims}.",
        "with a condition": gateway.mint(ALICE, cnf={"x5t#S256": "x"}),
        "opaque": "aot_abcdefghijklmnopqrstuvwxyz",
    }


_OTHER = SigningKey.generate("ES256", "test")


class FrameworkContract:
    """
    Mix it into a test case whose C{ask} sends a request to a service with three paths.

    C{/} needs a user and answers with their subject; C{/admin} needs the role C{admin}; C{/open}
    needs nothing, and answers C{anonymous} to a request without a token.
    """

    problem_details = True
    has_open = True

    gateway: FakeGateway
    verifier: Verifier

    def ask(self, path: str, headers: Headers = ()) -> Reply:
        raise NotImplementedError

    def make_verifier(self) -> None:
        self.gateway = FakeGateway(audience=AUDIENCE)
        self.verifier = self.gateway.verifier()

    def refused(self, reply: Reply, what: str) -> None:
        """The service answers with a 401 that has a challenge."""
        case = self._case()
        case.assertEqual(reply.status, 401, what)
        case.assertTrue(reply.headers["www-authenticate"].startswith("Bearer"), what)
        case.assertNotIn(b"alice", reply.body, what)
        if self.problem_details:
            case.assertEqual(reply.headers["content-type"], "application/problem+json", what)
            case.assertEqual(reply.problem["status"], 401, what)

    def _case(self) -> SynchronousTestCase:
        assert isinstance(self, SynchronousTestCase)
        return self

    def test_user(self) -> None:
        """A good JWT lets the service know its user."""
        reply = self.ask("/", bearer(self.gateway.mint(ALICE)))
        self._case().assertEqual((reply.status, reply.body), (200, b"internal-alice"))

    def test_no_token(self) -> None:
        """Without a bearer token the answer is a 401 with a challenge."""
        basic = [("Authorization", "Basic YWxpY2U6d29uZGVy")]
        for headers in ([], basic, [("Authorization", "")]):
            reply = self.ask("/", headers)
            self.refused(reply, str(headers))
            self._case().assertEqual(reply.headers["www-authenticate"], "Bearer")

    def test_bad_tokens(self) -> None:
        """Each wrong JWT is a 401, on every path, even where a user is optional."""
        paths = ["/", "/admin", "/open"] if self.has_open else ["/", "/admin"]
        for what, token in bad_tokens(self.gateway).items():
            for path in paths:
                reply = self.ask(path, bearer(token))
                self.refused(reply, f"{what} at {path}")
                challenge = reply.headers["www-authenticate"]
                self._case().assertIn('error="invalid_token"', challenge, what)

    def test_spoofed_headers(self) -> None:
        """Headers in which a client claims a name say nothing."""
        spoofed = [
            (name, "root")
            for name in (
                "X-Auth-Username", "X-Auth-Realm", "X-Auth-Roles", "Remote-User", "X_Auth_Username",
                "X-Forwarded-User", "X-Remote-User", "Authotron-User", "User",
            )
        ]  # fmt: skip
        self.refused(self.ask("/", spoofed), "without a token")
        reply = self.ask("/", [*spoofed, *bearer(self.gateway.mint(ALICE))])
        self._case().assertEqual((reply.status, reply.body), (200, b"internal-alice"))
        reply = self.ask("/admin", [*spoofed, *bearer(self.gateway.mint(ALICE))])
        self._case().assertEqual(reply.status, 403)

    def test_two_tokens(self) -> None:
        """Two Authorization headers are a 401, whichever is good."""
        good, bad = bearer(self.gateway.mint(ALICE)), bearer("a.b.c")
        for headers in ([*good, *bad], [*bad, *good], [*good, *good]):
            self.refused(self.ask("/", headers), "two tokens")

    def test_role(self) -> None:
        """A user without the role gets a 403, a user with the role an answer."""
        reply = self.ask("/admin", bearer(self.gateway.mint(ALICE)))
        self._case().assertEqual(reply.status, 403)
        if self.problem_details:
            self._case().assertEqual(reply.problem["title"], "Forbidden")
        reply = self.ask("/admin", bearer(self.gateway.mint(ADMIN)))
        self._case().assertEqual((reply.status, reply.body), (200, b"internal-root"))

    def test_outage(self) -> None:
        """If the keys of the gateway cannot be fetched the answer is a 503, not a 401."""
        self.gateway.fail_on("jwks")
        reply = self.ask("/", bearer(self.gateway.mint(ALICE)))
        self._case().assertEqual(reply.status, 503)
        self._case().assertEqual(reply.headers["retry-after"], "5")
        self._case().assertNotIn("www-authenticate", reply.headers)

    def test_optional(self) -> None:
        """Where a user is optional, a request without a token passes."""
        if self.has_open:
            case = self._case()
            case.assertEqual(self.ask("/open").body, b"anonymous")
            reply = self.ask("/open", bearer(self.gateway.mint(ALICE)))
            case.assertEqual(reply.body, b"internal-alice")
