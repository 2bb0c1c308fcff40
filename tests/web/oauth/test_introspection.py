"""C{POST /oauth/introspect} (RFC 7662, RFC 9701)."""

from __future__ import annotations

from typing import Any

import jwt

from authotron.model.token import Token, generate
from authotron.stores import memory
from authotron.testing.worlds import NOW
from tests.web.conversations import ALICE, Answer, basic
from tests.web.oauth.cases import BOB, ISSUER, SERVICE, OAuthCase

INACTIVE = {"active": False}


class IntrospectionTests(OAuthCase):
    """What a service learns of a token."""

    def test_api_token(self) -> None:
        """An introspector learns the owner of an API token, its roles, and its times."""
        token = self.api_token(ttl=600)
        found = self.introspect(token)
        expected: dict[str, Any] = {
            "active": True,
            "iss": ISSUER,
            "sub": "internal-alice",
            "token_type": "Bearer",
            "iat": int(NOW),
            "exp": int(NOW) + 600,
            "realm": "internal",
            "username": "alice",
            "roles": ["reader", "writer"],
        }
        self.assertEqual({name: found[name] for name in expected}, expected)
        self.assertEqual(found["jti"], token.split("_")[1])

    def test_restricted(self) -> None:
        """Of a restricted API token only the roles that it grants are stated."""
        self.assertEqual(self.introspect(self.api_token(roles=["reader"]))["roles"], ["reader"])

    def test_minted_jwt(self) -> None:
        """A JWT that the gateway minted for a backend is active until it expires."""
        token = self.minted()
        found = self.introspect(token)
        self.assertEqual((found["active"], found["username"]), (True, "alice"))
        self.assertEqual(found["exp"], int(NOW) + 3600)
        self.gateway.clock.advance(3600)
        self.assertEqual(self.introspect(token), INACTIVE)

    def test_owner_S_INTROSPECT(self) -> None:
        """An owner sees its own tokens; other clients learn nothing, in the same bytes."""
        for token in (self.api_token(), self.minted()):
            self.assertTrue(self.introspect(token, ALICE)["active"])
            unknown = self.ask(token[:-4] + "0000", BOB)
            self.assertEqual(self.ask(token, BOB), unknown)
            self.assertEqual(unknown.json(), INACTIVE)

    def ask(self, token: str, authorization: str) -> Answer:
        answer = self.form("/oauth/introspect", {"token": token}, authorization)
        answer.headers.pop("date")
        return answer

    def test_same_work_S_INTROSPECT(self) -> None:
        """The token of another owner costs the token store as much as an unknown one."""
        tokens = self.gateway.serving.gateway.tokens
        assert tokens is not None
        asked: list[str] = []
        found = tokens.store.backend.get

        class Noted(memory.MemoryStore):
            async def get(self, id_: str) -> Token | None:
                asked.append(id_)
                return await found(id_)

        token = self.api_token()
        tokens.store.backend = Noted()
        calls = []
        for text in (token, generate(NOW).text):
            asked.clear()
            self.assertEqual(self.introspect(text, BOB), INACTIVE)
            calls.append(len(asked))
        self.assertEqual(calls, [1, 1])

    def test_inactive_S_INTROSPECT(self) -> None:
        """Whatever is wrong with a token, the answer is the same, and says nothing else."""
        revoked = self.api_token()
        self.form("/oauth/revoke", {"token": revoked})
        foreign = jwt.encode({"iss": "https://other.example.org", "exp": NOW + 60}, "s" * 32)
        for token in (revoked, foreign, "x", "aot_wrong", "a b", "a,b", "e30.e30.", "é", "Basic x"):
            self.assertEqual(self.ask(token, SERVICE).body, b'{"active": false}', token)

    def test_other_jwts_of_the_gateway(self) -> None:
        """A JWT that the gateway signed for another purpose is no access token."""
        minter = self.gateway.serving.gateway.minter
        claims = jwt.decode(self.minted(), options={"verify_signature": False})
        for typ in ("token-introspection+jwt", "statuslist+jwt", "logout+jwt", "exchange+jwt"):
            self.assertEqual(self.introspect(minter.sign(claims, typ)), INACTIVE)
        self.assertEqual(self.introspect(minter.sign({"exp": NOW + 60, "iss": ISSUER})), INACTIVE)

    def test_conditions_S_FACTS(self) -> None:
        """A token for certain networks or hosts is active only for a request that fits."""
        token = self.api_token(networks=["10.0.0.0/8"], hosts=["*.example.org"])
        fitting = {"client_address": "10.1.2.3", "host": "api.example.org"}
        self.assertTrue(self.introspect(token, **fitting)["active"])
        for stated in (
            {},
            {"client_address": "10.1.2.3"},
            {"host": "api.example.org"},
            {**fitting, "client_address": "192.0.2.1"},
            {**fitting, "host": "example.org"},
        ):
            for caller in (SERVICE, ALICE):
                self.assertEqual(self.introspect(token, caller, **stated), INACTIVE, stated)

    def test_malformed_facts(self) -> None:
        """A malformed fact is an error of the service, and does not count as no fact."""
        for name, value in (
            ("host", "a b"),
            ("client_address", "x"),
            ("method", "G T"),
            ("uri", "x"),
        ):
            answer = self.form("/oauth/introspect", {"token": "x", name: value}, SERVICE)
            self.assertEqual((answer.status, answer.json()["error"]), (400, "invalid_request"))

    def test_restricted_caller_S_INTROSPECT(self) -> None:
        """A client with a restricted API token sees only this token and what came of it."""
        mine = self.api_token(roles=["reader"])
        child = self.api_token(f"Bearer {mine}")
        caller = f"Bearer {mine}"
        self.assertTrue(self.introspect(mine, caller)["active"])
        self.assertTrue(self.introspect(child, caller)["active"])
        for other in (self.api_token(), self.minted()):
            self.assertEqual(self.introspect(other, caller), INACTIVE)

    def test_caller(self) -> None:
        """Without a valid credential nothing is answered, not even about a valid token."""
        for authorization in ("", basic("service", "wrong"), "Bearer x"):
            answer = self.form("/oauth/introspect", {"token": self.api_token()}, authorization)
            self.assertEqual((answer.status, answer.json()["error"]), (401, "invalid_client"))
            self.assertIn("Basic", answer.headers["www-authenticate"])
            self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_no_store(self) -> None:
        """No cache keeps an answer; a form without a token is malformed."""
        answer = self.ask(self.api_token(), SERVICE)
        self.assertEqual(answer.headers["cache-control"], "no-store")
        answer = self.form("/oauth/introspect", {"token_type_hint": "access_token"}, SERVICE)
        self.assertEqual((answer.status, answer.json()["error"]), (400, "invalid_request"))

    def test_other_methods_S_INURL(self) -> None:
        """Tokens never stand in URLs, so only POST is allowed, and a query is refused."""
        answer = self.gateway.ask("GET /oauth/introspect?token=x", Authorization=SERVICE)
        self.assertEqual(answer.status, 405)
        answer = self.form("/oauth/introspect?token=x", {"token": "y"}, SERVICE)
        self.assertEqual((answer.status, answer.json()["error"]), (400, "invalid_request"))

    def test_off(self) -> None:
        """Without the section C{oauth} there is no such route."""
        self.gateway = self.make(oauth=...)
        self.assertEqual(self.form("/oauth/introspect", {"token": "x"}, SERVICE).status, 404)


class SignedAnswerTests(OAuthCase):
    """Answers as JWTs (RFC 9701)."""

    def signed(self, token: str, accept: str) -> Answer:
        return self.form("/oauth/introspect", {"token": token}, SERVICE, Accept=accept)

    def test_jwt(self) -> None:
        """A JWT for the caller, which no verifier can take for an access token."""
        for token, is_active in ((self.api_token(), True), ("x", False)):
            answer = self.signed(token, "application/token-introspection+jwt")
            self.assertEqual(answer.headers["content-type"], "application/token-introspection+jwt")
            [published] = self.gateway.ask("GET /.well-known/jwks.json").json()["keys"]
            found = jwt.decode_complete(
                answer.body.decode(),
                jwt.PyJWK(published).key,
                ["ES256"],
                options={"verify_aud": False, "verify_iat": False},
            )
            claims = found["payload"]
            self.assertEqual(found["header"]["typ"], "token-introspection+jwt")
            self.assertEqual(claims.keys(), {"iss", "aud", "iat", "token_introspection"})
            self.assertEqual((claims["iss"], claims["aud"]), (ISSUER, "internal-service"))
            self.assertEqual(claims["token_introspection"]["active"], is_active)

    def test_json(self) -> None:
        """JSON for every other client."""
        for accept in ("application/json", "*/*", "application/token-introspection+jwt;q=0"):
            answer = self.signed("x", accept)
            self.assertEqual(answer.headers["content-type"], "application/json")
