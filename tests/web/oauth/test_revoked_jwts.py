"""JWTs that clients revoke by C{POST /oauth/revoke}, and what introspection then says of them."""

from __future__ import annotations

from typing import Any

from authotron.daemon.live_records import LiveRecords
from authotron.net.world import World
from authotron.testing.worlds import run_at_once
from tests.web.conversations import ALICE, Answer
from tests.web.oauth.cases import BOB, ROOT, SERVICE
from tests.web.oauth.test_token import TokenCase
from tests.web.revoking import Unreliable

INACTIVE = {"active": False}


class RevokedJwtTests(TokenCase):
    """A gateway that follows revocations in its token store."""

    def setUp(self) -> None:
        super().setUp()
        self.store = Unreliable()
        serving = self.gateway.serving
        assert serving.gateway.tokens is not None
        serving.gateway.tokens.store.backend = self.store
        records = LiveRecords(serving, World(self.gateway.clock, run_at_once))
        records.start()
        self.addCleanup(records.stop)

    def make(self, **over: Any) -> Any:
        return super().make(**{"revocation": {}, **over})

    def revoke(self, token: str, authorization: str = ALICE) -> Answer:
        return self.form("/oauth/revoke", {"token": token}, authorization)

    def test_minted_T42(self) -> None:
        """A JWT for backends is inactive once its user has revoked it; another one stays active."""
        token, other = self.minted(), self.exchanged_jwt()
        answer = self.revoke(token)
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(self.introspect(token), INACTIVE)
        self.assertTrue(self.introspect(other)["active"])

    def exchanged_jwt(self) -> str:
        type_ = "urn:ietf:params:oauth:token-type:jwt"
        token: str = self.exchanged(self.api_token(), requested_token_type=type_)["access_token"]
        return token

    def test_exchanged_T42(self) -> None:
        """An exchanged token is refused, and all tokens that came of it; its parent is not."""
        parent = self.api_token()
        child = self.exchanged(parent)["access_token"]
        grandchild = self.exchanged(child)["access_token"]
        self.assertEqual(self.revoke(child).status, 200)
        for token, is_active in ((parent, True), (child, False), (grandchild, False)):
            self.assertEqual(self.introspect(token)["active"], is_active)
            status = self.gateway.ask("GET /authenticate", Authorization=f"Bearer {token}").status
            self.assertEqual(status, 200 if is_active else 401)

    def test_by_itself(self) -> None:
        """A client that has nothing but an exchanged token revokes it, restricted or not."""
        for more in ({}, {"role": ["reader"]}):
            token = self.exchanged(self.api_token(), **more)["access_token"]
            self.assertTrue(self.introspect(token, f"Bearer {token}")["active"])
            self.assertEqual(self.revoke(token, f"Bearer {token}").status, 200)
            self.assertEqual(self.introspect(token), INACTIVE)

    def test_not_its_parent_S_REVOKER(self) -> None:
        """A restricted exchanged token neither sees nor revokes the token that it came of."""
        parent = self.api_token()
        token = self.exchanged(parent, role=["reader"])["access_token"]
        self.assertEqual(self.introspect(parent, f"Bearer {token}"), INACTIVE)
        self.assertEqual(self.revoke(parent, f"Bearer {token}").status, 200)
        self.assertTrue(self.introspect(parent)["active"])

    def test_of_others_S_REVOKER(self) -> None:
        """Other users revoke nothing; administrators do."""
        token = self.minted()
        for by, is_active in ((BOB, True), (SERVICE, True), (ROOT, False)):
            self.assertEqual(self.revoke(token, by).status, 200)
            self.assertEqual(self.introspect(token)["active"], is_active)

    def test_outage(self) -> None:
        """While the store is unreachable nothing is said to be revoked, or to be valid for long."""
        token = self.minted()
        self.store.is_down = True
        answer = self.revoke(token)
        self.assertEqual((answer.status, answer.json()["error"]), (503, "temporarily_unavailable"))
        for _ in range(1_000):
            self.gateway.clock.advance(0.5)
        answer = self.form("/oauth/introspect", {"token": token}, SERVICE)
        self.assertEqual((answer.status, answer.json()["error"]), (503, "temporarily_unavailable"))
