"""Revocations, and tokens that were exchanged for revoked credentials."""

from __future__ import annotations

from typing import Any

from authotron.jose import keys
from authotron.testing.worlds import NOW
from tests.web.conversations import Answer
from tests.web.revoking import ALICE, ROOT, RevokingCase, bearer

PEM = keys.generate("EdDSA")


class RevokedTests(RevokingCase):
    """A gateway that follows revocations, and whose clients exchange their credentials."""

    def start(self, **over: Any) -> None:
        super().start(
            jwt={"alg": "EdDSA", "key": PEM},
            tokens={"exchange": {}},
            policy={"mode": "observe"},
            **over,
        )

    def post(self, authorization: str, **wish: Any) -> Answer:
        return self.gateway.post("/token/exchange", wish, Authorization=authorization)

    def exchange(self, authorization: str, **wish: Any) -> str:
        answer = self.post(authorization, **wish)
        self.assertEqual(answer.status, 200, answer.body)
        return f"Bearer {answer.json()['token']}"

    def id_of(self, token: str) -> str:
        exchanged = self.serving.gateway.exchanged
        assert exchanged is not None
        return exchanged.read(token.removeprefix("Bearer ")).id

    def test_parent_T42(self) -> None:
        """Revoking any token of a chain refuses all that came of it, and nothing else."""
        chain = [bearer()]
        for _ in range(3):
            chain.append(self.exchange(chain[-1]))
        other = self.exchange(bearer(jti="alice-2"))
        self.assertEqual([self.ask(each) for each in (*chain, other)], [200] * 5)
        self.made(token_id=self.id_of(chain[2]))
        self.assertEqual([self.ask(each) for each in (*chain, other)], [200, 200, 401, 401, 200])
        self.made(token_id="alice-1")
        self.assertEqual([self.ask(each) for each in (*chain, other)], [401, 401, 401, 401, 200])

    def test_parent_without_id(self) -> None:
        """A token without C{jti} is a parent by its hash."""
        token = self.exchange(parent := bearer(jti=None))
        self.made(token=parent.removeprefix("Bearer "))
        self.assertEqual(self.ask(token), 401)

    def test_not_exchanged(self) -> None:
        """A revoked token cannot be swapped for another one."""
        self.made(token_id="alice-1")
        self.assertEqual(self.post(bearer()).status, 401)

    def test_owner(self) -> None:
        """A user who is revoked has no valid token left."""
        tokens = [self.exchange(each) for each in (ALICE, bearer())]
        self.made(realm="internal", username="alice")
        self.assertEqual([self.ask(each) for each in tokens], [401, 401])

    def test_issued_before(self) -> None:
        """What was exchanged after the moment for a token from before it is refused, too."""
        self.gateway.clock.advance(10)
        late, unknown = self.exchange(bearer()), self.exchange(bearer(iat=None))
        password, newer = self.exchange(ALICE), self.exchange(bearer(iat=NOW + 5))
        self.made(realm="internal", username="alice", issued_before=NOW + 1)
        found = [self.ask(each) for each in (late, unknown, password, newer)]
        self.assertEqual(found, [401, 401, 200, 200])

    def test_later(self) -> None:
        """A revocation that counts from a later moment ends the whole chain then."""
        token = self.exchange(self.exchange(bearer()))
        self.made(token_id="alice-1", active_from="+5s")
        self.assertEqual(self.ask(token), 200)
        self.pass_(5)
        self.assertEqual(self.ask(token), 401)

    def test_cloaked_claims(self) -> None:
        """An expression is about the whole user, whatever a token cloaks or leaves out."""
        team = bearer(team="blue")
        token, ours = self.exchange(team, cloak=["team"]), self.exchange(ALICE, roles=[])
        self.assertEqual((self.ask(token), self.ask(ours)), (200, 200))
        self.made(claims="'blue' in claims.team")
        self.assertEqual((self.ask(token), self.ask(ours)), (401, 200))
        self.made(claims="'reader' in claims.role")
        self.assertEqual(self.ask(ours), 401)

    def test_no_cloak(self) -> None:
        """A claim that the expression of a revocation reads cannot be cloaked."""
        self.made(claims="'red' in claims.team")
        for name in ("team", "*"):
            answer = self.post(bearer(team="blue"), cloak=[name])
            self.assertEqual(answer.status, 403)
            self.assertIn("cannot hide team", answer.json()["problems"][0])

    def test_logout(self) -> None:
        """A token can be logged out, which ends its descendants, and not its parent."""
        parent = bearer()
        token = self.exchange(parent)
        child = self.exchange(token)
        answer = self.gateway.ask("POST /logout", Authorization=token, Content_Length="0")
        self.assertEqual(answer.status, 204, answer.body)
        self.assertEqual([self.ask(each) for each in (parent, token, child)], [200, 401, 401])

    def test_no_more_than_itself_T52(self) -> None:
        """An exchanged token revokes neither its parent, nor all tokens of its user."""
        parent, token = bearer(), self.exchange(bearer())
        for content in (
            {"token_id": "alice-1"},
            {"token_id": "alice-2"},
            {"realm": "internal", "username": "alice"},
            {"realm": "internal", "username": "alice", "issued_before": "now"},
            {"token": parent.removeprefix("Bearer ")},
        ):
            self.assertEqual(self.revoke(token, **content).status, 403, content)
        answer = self.gateway.post("/logout", {"everywhere": True}, Authorization=token)
        self.assertEqual(answer.status, 403)
        self.assertEqual((self.ask(parent), self.ask(token)), (200, 200))

    def test_no_administrator(self) -> None:
        """The exchanged token of an administrator revokes nothing of others."""
        answer = self.revoke(self.exchange(ROOT), realm="internal", username="alice")
        self.assertEqual(answer.status, 403)
        self.assertEqual(self.ask(ALICE), 200)
