"""The introspection provider (RFC 7662)."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Credential, Identity
from authotron.plugin.interfaces import IProvider
from authotron.providers import introspection
from authotron.testing.contracts import ProviderContract
from authotron.testing.issuers import forged_jwt
from authotron.testing.oauth import OAuthServer
from authotron.testing.remotes import FakeRemote, Respond, start
from authotron.testing.worlds import NOW, clock_at, world

TESS: dict[str, Any] = {"active": True, "sub": "u-1", "username": "tess", "scope": "read"}


INTROSPECT = "oauth.example/introspect"


def provider(server: FakeRemote, clock: Any = None, **given: Any) -> IProvider:
    part = {
        "type": "introspection",
        "name": "it",
        "realm": "here",
        "url": "https://oauth.example/introspect",
        "client_id": "gate",
        "client_secret": "secret",
    }
    config = section.read(introspection.Config, {**part, **given})
    return introspection.make(config, world(clock, server))


class IntrospectionContractTests(ProviderContract, SynchronousTestCase):
    """The introspection provider is a provider."""

    def provider(self) -> IProvider:
        return provider(OAuthServer())


class IntrospectionTests(SynchronousTestCase):
    """Rules of the introspection provider."""

    def ask(self, answer: Any, status: int = 200, token: str = "good", **given: Any) -> Any:
        self.server = OAuthServer()
        self.server.instead[INTROSPECT] = Respond(answer, status)
        judge = provider(self.server, clock_at(NOW), **given)
        return start(judge.authenticate(Credential("bearer", token)))

    def test_active(self) -> None:
        """The gateway authenticates to the server, and uses the user name of the response."""
        identity: Identity = self.successResultOf(self.ask(TESS)).identity
        self.assertEqual((identity.username, identity.scopes), ("tess", {"it": ("read",)}))
        self.assertEqual(self.server.requests[0].headers["authorization"], "Basic Z2F0ZTpzZWNyZXQ=")

    def test_until_T41(self) -> None:
        """An accepted token is remembered for a minute, and never beyond its expiry."""
        for end, until in ((None, NOW + 60), (NOW + 300, NOW + 60), (NOW + 3, NOW + 3)):
            answer = TESS if end is None else {**TESS, "exp": end}
            found = self.successResultOf(self.ask(answer))
            self.assertEqual((found.fresh_until, found.expires), (until, end))

    def test_within_leeway_S_LEEWAY(self) -> None:
        """A token that expired within the leeway ends with the leeway."""
        found = self.successResultOf(self.ask({**TESS, "exp": NOW - 50}))
        self.assertEqual((found.expires, found.fresh_until), (NOW + 10, NOW + 10))
        self.assertEqual(found.expires_at(), NOW + 10)
        self.failureResultOf(self.ask({**TESS, "exp": NOW}, leeway=0), Rejected)

    def test_lean(self) -> None:
        """A user name alone is enough, and so is a subject."""
        for name in ("sub", "username"):
            identity = self.successResultOf(self.ask({"active": True, name: "tess"})).identity
            self.assertEqual(identity.username, "tess")

    def test_refused(self) -> None:
        """A token that is inactive, expired, of another issuer, audience or type is rejected."""
        rules: dict[str, Any] = {"issuer": "https://oauth.example", "audience": ["us"]}
        fitting = {**TESS, "iss": "https://oauth.example", "aud": "us"}
        self.successResultOf(self.ask(fitting, **rules))
        for change in (
            {"active": False},
            {"active": "true"},
            {"active": 1},
            {"exp": NOW - 60},
            {"exp": "soon"},
            {"iss": "x"},
            {"aud": "x"},
            {"typ": "Refresh"},
            {"sub": "", "username": ""},
        ):
            self.failureResultOf(self.ask({**fitting, **change}, **rules), Rejected)

    def test_other_kinds_T88a(self) -> None:
        """A refresh or ID token is rejected, even if the server calls it active."""
        for more in (
            {"token_type": "refresh_token"},
            {"token_type": "Refresh"},
            {"token_use": "refresh_token"},
            {"token_use": "id"},
            {"typ": "Offline"},
            {"at_hash": "x"},
            {"use": "refresh"},
            {"token_type": ["Bearer"]},
        ):
            with self.subTest(str(more)):
                self.failureResultOf(self.ask({**TESS, **more}), Rejected)
        self.successResultOf(
            self.ask({**TESS, "token_type": "Bearer", "token_use": "access_token"})
        )

    def test_way_out_T88a(self) -> None:
        """With `typ`, the response or the token must have that type."""
        self.successResultOf(self.ask({**TESS, "token_type": "refresh_token"}, typ="refresh"))
        self.failureResultOf(self.ask(TESS, typ="refresh"), Rejected)
        token = forged_jwt({"alg": "ES256"}, {"typ": "Refresh"})
        self.successResultOf(self.ask(TESS, token=token, typ="Refresh"))

    def test_token_tells_T88a(self) -> None:
        """A JWT that says that it is not an access token is not sent to the server."""
        for header, claims in (
            ({"alg": "ES256"}, {"at_hash": "x"}),
            ({"alg": "ES256"}, {"typ": "Refresh"}),
            ({"alg": "ES256", "typ": "logout+jwt"}, {}),
            ({"alg": "ES256", "typ": []}, {}),
        ):
            self.failureResultOf(self.ask(TESS, token=forged_jwt(header, claims)), Rejected)
            self.assertEqual(self.server.requests, [])
        self.successResultOf(
            self.ask(TESS, token=forged_jwt({"alg": "ES256", "typ": "at+jwt"}, {}))
        )

    def test_client_secret_H_CLIENT(self) -> None:
        """Id and secret are form-encoded (RFC 6749 section 2.3.1) unless configured otherwise."""
        for client, secret, encoded, raw in (
            ("gate", "a+b", "gate:a%2Bb", "gate:a+b"),
            ("gate", "50% é:/ ", "gate:50%25+%C3%A9%3A%2F+", "gate:50% é:/ "),
            ("https://gate", "s", "https%3A%2F%2Fgate:s", "https://gate:s"),
        ):
            given: dict[str, Any] = {"client_id": client, "client_secret": secret}
            for method, header in (("basic", encoded), ("basic-raw", raw)):
                self.successResultOf(self.ask(TESS, **given, client_auth=method))
                sent = self.server.requests[0].headers["authorization"]
                self.assertEqual(sent, f"Basic {b64encode(header.encode()).decode()}")
            self.successResultOf(self.ask(TESS, **given))
            sent = self.server.requests[0].headers["authorization"]
            self.assertEqual(sent, f"Basic {b64encode(encoded.encode()).decode()}")
            self.successResultOf(self.ask(TESS, **given, client_auth="post"))
            [asked] = self.server.requests
            self.assertEqual(asked.form, {"token": "good", **given})
            self.assertNotIn("authorization", asked.headers)

    def test_client_refused_H_CLIENT(self) -> None:
        """If the server refuses the client, the message says so and what to check."""
        failure = self.failureResultOf(self.ask({"error": "invalid_client"}, 401), Unavailable)
        self.assertEqual(
            failure.getErrorMessage(),
            "https://oauth.example/introspect answered 401: it refuses the client 'gate'; check "
            "its id and secret, and client_auth",
        )

    def test_no_answer_H_EMPTY(self) -> None:
        """A response without C{active} is no introspection response, so it is an outage."""
        for answer in ({}, {"sub": "u-1"}, {"error": "invalid_request"}):
            self.failureResultOf(self.ask(answer), Unavailable)

    def test_shapes_H_CLAIM(self) -> None:
        """Scopes and roles of another shape are read or left out, as those of a JWT."""
        for more, roles, scopes in (
            ({"scope": ["a", "b"]}, (), ("a", "b")),
            ({"scope": None, "scp": "a b"}, (), ("a", "b")),
            ({"scope": 5, "realm_access": {"roles": "r"}}, ("r",), ()),
            ({"scope": {}, "entitlements": 5, "resource_access": []}, (), ()),
        ):
            identity = self.successResultOf(self.ask({**TESS, **more})).identity
            self.assertEqual((identity.roles, identity.scopes), (roles, {"it": scopes}))
        self.failureResultOf(self.ask({**TESS, "scope": ["a"]}, required_scopes=["b"]), Rejected)

    def test_required_claims_H_AUDCLAIM(self) -> None:
        """The audience in another claim, and required claims, are checked as in a JWT."""
        rules: dict[str, Any] = {
            "audience": "app",
            "audience_claim": "client_id",
            "required_claims": {"tenant": "t"},
        }
        fitting = {**TESS, "client_id": "app", "tenant": "t"}
        self.successResultOf(self.ask(fitting, **rules))
        for change in ({"client_id": "other"}, {"client_id": None}, {"tenant": "x"}):
            self.failureResultOf(self.ask({**fitting, **change}, **rules), Rejected)

    def test_malformed_H_CLAIM(self) -> None:
        """Malformed conditions in a response reject a token, whether they are configured or not."""
        changes: list[dict[str, Any]] = [
            {"iat": "now"},
            {"nbf": []},
            {"aud": 5},
            {"iss": []},
            {"cnf": "x"},
            {"typ": 5},
            {"preferred_username": ""},
        ]
        for change in changes:
            self.failureResultOf(self.ask({**TESS, **change}), Rejected)

    def test_outage_T70(self) -> None:
        """Another status, or a response that is not a JSON object, is an outage."""
        for status in (302, 400, 401, 403, 404, 500):
            self.failureResultOf(self.ask(TESS, status), Unavailable)
        self.failureResultOf(self.ask(b"oops"), Unavailable)
