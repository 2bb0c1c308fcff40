"""What came of a revoked token: exchanged tokens, and the gateway's own JWTs."""

from __future__ import annotations

from typing import Any

from authotron.jose import keys
from authotron.testing.worlds import NOW
from tests.web.revoking import ALICE, ROOT, SSO, STAFF, RevokingCase, bearer

ISSUER = "https://gate"
OWN = {"type": "own-jwt", "name": "own", "realm": "internal"}


class ExchangedTests(RevokingCase):
    """Tokens that were exchanged for a credential."""

    def start(self, **over: Any) -> None:
        jwt = {"iss": ISSUER, "alg": "EdDSA", "key": keys.generate("EdDSA"), "secret": ...}
        usual = {"jwt": jwt, "tokens": {"exchange": {}}, "providers": [STAFF, SSO, OWN]}
        super().start(**{**usual, **over})

    def exchanged(self, credential: str, **content: Any) -> str:
        answer = self.gateway.post("/token/exchange", content, Authorization=credential)
        self.assertEqual(answer.status, 200, answer.body)
        return f"Bearer {answer.json()['token']}"

    def test_revoked_parents_T52(self) -> None:
        """A revoked token revokes all that was exchanged for it, however often."""
        child = self.exchanged(bearer())
        grandchild = self.exchanged(self.exchanged(child))
        other = self.exchanged(bearer(jti="alice-2"))
        statuses = [*map(self.ask, (child, grandchild, other))]
        self.assertEqual(statuses, [200, 200, 200])
        self.made(token_id="alice-1")
        self.assertEqual([*map(self.ask, (child, grandchild, other))], [401, 401, 200])
        answer = self.gateway.post("/token/exchange", {}, Authorization=child)
        self.assertEqual(answer.status, 401)

    def test_parent_without_an_id_T52(self) -> None:
        """A token without C{jti} takes what was exchanged for it along as well."""
        parent = bearer(jti=None)
        child = self.exchanged(parent)
        self.assertEqual(self.ask(child), 200)
        self.made(token=parent.removeprefix("Bearer "))
        self.assertEqual(self.ask(child), 401)

    def test_child_alone(self) -> None:
        """A logout with an exchanged token revokes this token, and not the one it came of."""
        child = self.exchanged(bearer())
        grandchild = self.exchanged(child)
        self.assertEqual(self.gateway.ask("POST /logout", Authorization=child).status, 204)
        self.assertEqual([*map(self.ask, (child, grandchild, bearer()))], [401, 401, 200])
        [made] = self.gateway.ask("GET /revocations", Authorization=ROOT).json()["revocations"]
        self.assertGreater(made["until"], NOW + 3_000)

    def test_exchange_is_no_new_login_T52(self) -> None:
        """A revocation of all earlier tokens also concerns tokens that were exchanged later."""
        parent = bearer(iat=NOW - 10)
        self.gateway.clock.advance(20)
        child = self.exchanged(parent)
        self.made(realm="internal", username="alice", issued_before=NOW)
        self.assertEqual([*map(self.ask, (parent, child))], [401, 401])

    def test_api_token(self) -> None:
        """A deleted API token takes what was exchanged for it along."""
        made = self.gateway.post("/tokens", {}, Authorization=ALICE).json()
        child = self.exchanged(f"Bearer {made['token']}")
        self.assertEqual(self.ask(child), 200)
        self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
        self.assertEqual(self.ask(child), 401)

    def test_exchanged_tokens_revoke_nothing_else(self) -> None:
        """With an exchanged token a client cannot revoke other tokens of its user."""
        child = self.exchanged(bearer(), roles=[])
        self.assertEqual(self.revoke(child, token_id="other").status, 403)
        self.assertEqual(
            self.gateway.post("/logout", {"everywhere": True}, Authorization=child).status, 403
        )

    def test_own_jwts_T36(self) -> None:
        """A JWT that the gateway minted is revoked with the token for which it was minted."""
        answer = self.gateway.ask("GET /authenticate", Authorization=bearer())
        minted = answer.headers["authorization"]
        self.assertEqual(self.ask(minted), 200)
        again = self.gateway.ask("GET /authenticate", Authorization=minted).headers["authorization"]
        self.assertEqual(self.gateway.ask("POST /logout", Authorization=bearer()).status, 204)
        self.assertEqual([*map(self.ask, (minted, again))], [401, 401])

    def test_cloaked_S_A3SCLOAK(self) -> None:
        """
        A claim that the expression of a revocation names cannot be cloaked; if it was cloaked
        before, the expression sees it nevertheless.
        """
        sso = {**SSO, "attributes": {"include": ["department"]}}
        self.start(providers=[STAFF, sso])
        parent = bearer(department="sales")
        child = self.exchanged(parent, cloak=["department"])
        self.made(claims='"marketing" in claims.department')
        content = {"cloak": ["department"]}
        answer = self.gateway.post("/token/exchange", content, Authorization=parent)
        self.assertEqual(answer.status, 403)
        self.assertIn("department", str(answer.json()["problems"]))
        self.assertEqual(self.ask(child), 200)
        self.made(claims='"sales" in claims.department')
        self.assertEqual(self.ask(child), 401)
