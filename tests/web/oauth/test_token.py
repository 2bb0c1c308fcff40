"""C{POST /oauth/token}: the exchange of tokens (RFC 8693)."""

from __future__ import annotations

from typing import Any

import jwt

from authotron.testing.worlds import NOW
from tests.web.conversations import ALICE, Answer, basic
from tests.web.oauth.cases import BOB, ISSUER, OAuthCase

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
ACCESS, JWT = f"{TYPE}access_token", f"{TYPE}jwt"
AUTHORIZATION = "urn:authotron:token-type:authorization"


class TokenCase(OAuthCase):
    """A gateway that exchanges tokens."""

    def make(self, **over: Any) -> Any:
        return super().make(**{"tokens": {"exchange": {}, "introspectors": ["inspector"]}, **over})

    def exchange(self, token: str, authorization: str = "", **more: Any) -> Answer:
        usual = {"grant_type": GRANT, "subject_token": token, "subject_token_type": ACCESS}
        given = {name: value for name, value in {**usual, **more}.items() if value is not None}
        return self.form("/oauth/token", given, authorization)

    def exchanged(self, token: str, **more: Any) -> dict[str, Any]:
        answer = self.exchange(token, **more)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.headers["cache-control"], "no-store")
        found: dict[str, Any] = answer.json()
        return found

    def refused(self, error: str, token: str, **more: Any) -> str:
        answer = self.exchange(token, **more)
        self.assertEqual((answer.status, answer.json()["error"]), (400, error), answer.body)
        self.assertEqual(answer.headers["cache-control"], "no-store")
        description: str = answer.json()["error_description"]
        self.assertRegex(description, r"^[ !#-\[\]-~]+$")
        return description


class ExchangeTests(TokenCase):
    """A token for a narrower one."""

    def test_shorter(self) -> None:
        """The new token is accepted by the gateway, for the requested time."""
        found = self.exchanged(self.api_token(), validity="60")
        self.assertEqual(found["issued_token_type"], ACCESS)
        self.assertEqual((found["token_type"], found["expires_in"]), ("Bearer", 60))
        bearer = f"Bearer {found['access_token']}"
        self.assertEqual(self.gateway.ask("GET /authenticate", Authorization=bearer).status, 200)
        self.gateway.clock.advance(61)
        self.assertEqual(self.gateway.ask("GET /authenticate", Authorization=bearer).status, 401)

    def test_fewer_roles_T52(self) -> None:
        """The new token has the requested roles of those that the old one has."""
        found = self.exchanged(self.api_token(), role=["reader"])
        answer = self.gateway.ask("GET /whoami", Authorization=f"Bearer {found['access_token']}")
        self.assertEqual(answer.json()["roles"], ["reader"])
        self.refused("invalid_scope", found["access_token"], role=["writer"])

    def test_every_credential(self) -> None:
        """A client without a token exchanges the credential in its header."""
        found = self.exchanged(ALICE, subject_token_type=AUTHORIZATION)
        self.assertEqual(self.introspect(found["access_token"])["username"], "alice")
        wrong = basic("alice", "wrong")
        self.refused("invalid_request", wrong, subject_token_type=AUTHORIZATION)

    def test_restrictions_S_FACTS(self) -> None:
        """Restrictions are parameters of the form; the token is then valid only where they fit."""
        more = {"restrict_hosts": "a.example.org b.example.org", "restrict_methods": "GET HEAD"}
        found = self.exchanged(self.api_token(), **more)
        token = found["access_token"]
        fitting = {"host": "a.example.org", "method": "GET"}
        self.assertTrue(self.introspect(token, **fitting)["active"])
        for name, value in (("host", "c.example.org"), ("method", "POST")):
            stated = {**fitting, name: value}
            self.assertEqual(self.introspect(token, **stated), {"active": False})

    def test_resource(self) -> None:
        """A resource is a host, and the paths below the path of its URL (RFC 8707)."""
        found = self.exchanged(self.api_token(), resource="https://api.example.org/v1")
        token = found["access_token"]
        for stated, is_active in (
            ({"host": "api.example.org", "uri": "/v1/x", "method": "GET"}, True),
            ({"host": "api.example.org", "uri": "/v1", "method": "GET"}, True),
            ({"host": "api.example.org", "uri": "/v2", "method": "GET"}, False),
            ({"host": "other.example.org", "uri": "/v1/x", "method": "GET"}, False),
        ):
            self.assertEqual(self.introspect(token, **stated)["active"], is_active, stated)

    def test_wrong_resources(self) -> None:
        """What the gateway cannot enforce is no target."""
        token = self.api_token()
        for resource in (
            ["http://api.example.org"],
            ["https://api.example.org#x"],
            ["urn:x"],
            ["https://a.example.org/x", "https://b.example.org"],
        ):
            self.refused("invalid_target", token, resource=resource)

    def test_subject(self) -> None:
        """A subject token that is not valid is an invalid request, and no more is said."""
        revoked = self.api_token()
        self.form("/oauth/revoke", {"token": revoked})
        descriptions = {
            self.refused("invalid_request", token)
            for token in (revoked, "x", self.minted(), "a b", "aot_x", "é", ALICE)
        }
        self.assertEqual(descriptions, {"The subject_token is not valid."})

    def test_counted(self) -> None:
        """Guesses at the token endpoint are as visible in metrics as those at /authenticate."""
        for _ in range(3):
            wrong = basic("alice", "wrong")
            self.refused("invalid_request", wrong, subject_token_type=AUTHORIZATION)
        text = self.gateway.metrics.text()[0].decode()
        expected = 'auth_requests_total{realm="unknown",result="all_failed"} 3.0'
        self.assertIn(expected, text)

    def test_subject_from_elsewhere_S_SUBJECT(self) -> None:
        """A token for other networks than that of the client cannot be exchanged."""
        self.refused("invalid_request", self.api_token(networks=["10.0.0.0/8"]))

    def test_parameters(self) -> None:
        """What the endpoint does not support is refused, and never left out."""
        token = self.api_token()
        for error, more in (
            ("unsupported_grant_type", {"grant_type": "password"}),
            ("unsupported_grant_type", {"grant_type": "client_credentials"}),
            ("invalid_request", {"grant_type": None}),
            ("invalid_request", {"subject_token_type": None}),
            ("invalid_request", {"subject_token_type": f"{TYPE}saml2"}),
            ("invalid_request", {"requested_token_type": f"{TYPE}refresh_token"}),
            ("invalid_request", {"actor_token": "x"}),
            ("invalid_request", {"actor_token": "x", "actor_token_type": ACCESS}),
            ("invalid_request", {"actor_token_type": ACCESS}),
            ("invalid_request", {"validity": "x"}),
            ("invalid_request", {"validity": "0"}),
            ("invalid_request", {"validity": ["1", "2"]}),
            ("invalid_request", {"restrict_networks": "x"}),
            ("invalid_scope", {"scope": "unknown"}),
            ("invalid_target", {"audience": "unknown"}),
        ):
            self.refused(error, token, **more)

    def test_client(self) -> None:
        """A client that authenticates must do so correctly; it need not authenticate."""
        token = self.api_token()
        self.assertEqual(self.exchange(token, BOB).status, 200)
        answer = self.exchange(token, basic("bob", "wrong"))
        self.assertEqual((answer.status, answer.json()["error"]), (401, "invalid_client"))

    def test_never_past_the_parent_T52(self) -> None:
        """A token never outlives the one that it came of."""
        self.refused("invalid_request", self.api_token(ttl=30), validity="60")
        found = self.exchanged(self.api_token(ttl=30))
        self.assertLessEqual(found["expires_in"], 30)

    def test_revoked_parent_T86a(self) -> None:
        """When a client revokes its API token, tokens that came of it are refused."""
        parent = self.api_token()
        child = self.exchanged(parent)["access_token"]
        grandchild = self.exchanged(child)["access_token"]
        self.assertTrue(self.introspect(grandchild)["active"])
        self.form("/oauth/revoke", {"token": parent})
        for token in (child, grandchild):
            self.assertEqual(self.introspect(token), {"active": False})

    def test_off(self) -> None:
        """Without C{tokens.exchange} there is no such endpoint, and the metadata name none."""
        self.gateway = self.make(tokens={})
        self.assertEqual(self.exchange("x").status, 404)
        found = self.gateway.ask("GET /.well-known/oauth-authorization-server").json()
        self.assertNotIn("token_endpoint", found)


class JwtTests(TokenCase):
    """The JWT for backends in place of a token for the gateway."""

    def test_jwt(self) -> None:
        """The JWT is the one that backends get, and no credential for the gateway."""
        found = self.exchanged(
            self.api_token(), requested_token_type=JWT, role=["reader"], validity="60"
        )
        self.assertEqual((found["issued_token_type"], found["token_type"]), (JWT, "N_A"))
        unchecked: Any = {"verify_signature": False}
        claims = jwt.decode(found["access_token"], options=unchecked)
        self.assertEqual((claims["iss"], claims["roles"]), (ISSUER, ["reader"]))
        self.assertLessEqual(claims["exp"], NOW + 60)
        self.assertEqual(found["expires_in"], claims["exp"] - int(NOW))
        self.refused("invalid_request", found["access_token"])

    def test_limits(self) -> None:
        """What only the gateway can enforce is refused for a JWT."""
        for more in (
            {"restrict_methods": "GET"},
            {"cloak": "team"},
            {"resource": "https://api.example.org"},
        ):
            self.refused("invalid_request", self.api_token(), requested_token_type=JWT, **more)


class MetadataTests(TokenCase):
    """The token endpoint in the metadata."""

    def test_endpoint(self) -> None:
        """The endpoint, its grant, and that clients need not authenticate."""
        found = self.gateway.ask("GET /.well-known/oauth-authorization-server").json()
        self.assertEqual(found["token_endpoint"], f"{ISSUER}/oauth/token")
        self.assertEqual(found["grant_types_supported"], [GRANT])
        expected = ["none", "client_secret_basic"]
        self.assertEqual(found["token_endpoint_auth_methods_supported"], expected)
