"""Tokens that are bound to a key or a certificate, at the OAuth endpoints."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tests.web.bound_case import OVER, BoundCase, thumbprint
from tests.web.conversations import ALICE, Answer
from tests.web.oauth.cases import ISSUER, key
from tests.web.oauth.test_token import ACCESS, GRANT, JWT

X5T = "A" * 43

OAUTH: dict[str, Any] = {
    **OVER,
    "jwt": {"iss": ISSUER, "alg": "ES256", "key": key(), "secret": ...},
    "tokens": {"bound": {}, "exchange": {}},
    "oauth": {},
}


class BoundTests(BoundCase):
    """A gateway that issues bound tokens by OAuth."""

    over = OAUTH

    def form(self, path: str, fields: dict[str, Any], *, by: str = "", proof: str = "") -> Answer:
        body = urlencode(fields).encode()
        lines = [f"POST {path} HTTP/1.1", "Host: gate", f"Content-Length: {len(body)}"]
        lines += ["Content-Type: application/x-www-form-urlencoded"]
        lines += [f"Authorization: {by}"] * bool(by) + [f"DPoP: {proof}"] * bool(proof)
        [answer] = self.gateway.say("\r\n".join([*lines, "", ""]).encode() + body)
        return answer

    def exchange(self, token: str, *, by: str = "", proof: str = "", **more: str) -> Answer:
        usual = {"grant_type": GRANT, "subject_token": token, "subject_token_type": ACCESS}
        return self.form("/oauth/token", {**usual, **more}, by=by, proof=proof)

    def new_proof(self, token: str | None) -> str:
        return self.proof(token, htm="POST", htu="https://gate/oauth/token")

    def introspect(self, token: str) -> Any:
        return self.form("/oauth/introspect", {"token": token}, by=ALICE).json()

    def test_introspection(self) -> None:
        """The answer states the binding, so that the service verifies the proof itself."""
        for cnf, type_ in (
            ({"jkt": thumbprint(self.signer)}, "DPoP"),
            ({"x5t#S256": X5T}, "Bearer"),
        ):
            found = self.introspect(self.make_token(cnf))
            self.assertEqual((found["active"], found["token_type"]), (True, type_))
            self.assertEqual(found["cnf"], cnf)
        self.assertNotIn("cnf", self.introspect(self.make_token(None)))

    def test_proof(self) -> None:
        """A token that a client requests with a proof is bound to the key of the proof."""
        found = self.exchange(self.make_token(None), proof=self.new_proof(None)).json()
        self.assertEqual(found["token_type"], "DPoP")
        introspected = self.introspect(found["access_token"])
        self.assertEqual(introspected["cnf"], {"jkt": thumbprint(self.signer)})

    def test_bad_proof(self) -> None:
        """With a proof that is not valid there is no token."""
        answer = self.exchange(self.make_token(None), proof="x")
        self.assertEqual((answer.status, answer.json()["error"]), (400, "invalid_dpop_proof"))

    def test_stolen_S_SUBJECT(self) -> None:
        """A stolen token that is bound cannot be exchanged without the key, in whatever way."""
        for cnf in ({"jkt": thumbprint(self.signer)}, {"x5t#S256": X5T}):
            token = self.make_token(cnf)
            for text, type_ in (
                (token, ACCESS),
                (f"DPoP {token}", "urn:authotron:token-type:authorization"),
                (f"Bearer {token}", "urn:authotron:token-type:authorization"),
            ):
                for by in ("", ALICE):
                    answer = self.exchange(text, subject_token_type=type_, by=by)
                    self.assertEqual(
                        (answer.status, answer.json()["error"]), (400, "invalid_request")
                    )

    def test_by_its_client_S_DPOPCHILD(self) -> None:
        """The client presents the token with a proof; the new token is bound to the same key."""
        token = self.make_bound()
        answer = self.exchange(token, by=f"DPoP {token}", proof=self.new_proof(token))
        self.assertEqual((answer.status, answer.json()["token_type"]), (200, "DPoP"))
        answer = self.exchange(
            token, by=f"DPoP {token}", proof=self.new_proof(token), requested_token_type=JWT
        )
        self.assertEqual((answer.status, answer.json()["error"]), (400, "invalid_request"))

    def test_revoked_without_proof(self) -> None:
        """An owner revokes a bound token with another credential."""
        token = self.make_bound()
        self.assertEqual(self.form("/oauth/revoke", {"token": token}, by=ALICE).status, 200)
        self.assertEqual(self.introspect(token), {"active": False})

    def test_metadata(self) -> None:
        """The metadata say which proofs are accepted."""
        found = self.gateway.ask("GET /.well-known/oauth-authorization-server").json()
        self.assertIn("ES256", found["dpop_signing_alg_values_supported"])
        self.assertIs(found["tls_client_certificate_bound_access_tokens"], True)
