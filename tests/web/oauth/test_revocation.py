"""C{POST /oauth/revoke} (RFC 7009)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, Unavailable
from authotron.model.token import Token
from authotron.stores import memory
from authotron.tokens.owners import Owners
from tests.web.conversations import ALICE, Answer
from tests.web.oauth.cases import BOB, ROOT, OAuthCase


class Broken(memory.MemoryStore):
    """A store that is unavailable."""

    async def get(self, id_: str) -> Token | None:
        raise Unavailable("canary")


class RevocationTests(OAuthCase):
    """Which tokens a client revokes."""

    def revoke(self, token: str, authorization: str = ALICE, **more: str) -> Answer:
        return self.form("/oauth/revoke", {"token": token, **more}, authorization)

    def is_valid(self, token: str) -> bool:
        status = self.gateway.ask("GET /authenticate", Authorization=f"Bearer {token}").status
        return status == 200

    def test_own(self) -> None:
        """An owner revokes its API token, which the gateway then refuses at once."""
        token = self.api_token()
        self.assertTrue(self.is_valid(token))
        answer = self.revoke(token, token_type_hint="refresh_token")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertFalse(self.is_valid(token))

    def test_descendants_T86a(self) -> None:
        """Whatever was made with a token is revoked with it."""
        parent = self.api_token()
        child = self.api_token(f"Bearer {parent}")
        self.assertTrue(self.is_valid(child))
        self.revoke(parent)
        self.assertFalse(self.is_valid(child))

    def test_by_itself(self) -> None:
        """A client without another credential presents the very token."""
        token = self.api_token()
        self.revoke(token, f"Bearer {token}")
        self.assertFalse(self.is_valid(token))

    def test_of_others_S_REVOKER(self) -> None:
        """The token of another owner stays; the reply does not say so. Administrators may."""
        token = self.api_token()
        answers = [self.revoke(each, BOB) for each in (token, "aot_unknown", "x")]
        self.assertEqual({(each.status, each.body) for each in answers}, {(200, b"")})
        self.assertTrue(self.is_valid(token))
        self.revoke(token, ROOT)
        self.assertFalse(self.is_valid(token))

    def test_by_id_S_REVOKER(self) -> None:
        """An id alone is not the token."""
        token = self.api_token()
        self.assertEqual(self.revoke(token.split("_")[1]).status, 200)
        self.assertTrue(self.is_valid(token))

    def test_jwt(self) -> None:
        """A JWT cannot be revoked if revocations are not configured; it expires soon."""
        answer = self.revoke(self.minted())
        self.assertEqual((answer.status, answer.json()["error"]), (400, "unsupported_token_type"))

    def test_outage(self) -> None:
        """While the token store is unavailable, a client has to try again."""
        token = self.api_token()
        tokens = self.gateway.serving.gateway.tokens
        assert tokens is not None
        tokens.store.backend = Broken()
        answer = self.revoke(token)
        self.assertEqual((answer.status, answer.json()["error"]), (503, "temporarily_unavailable"))
        self.assertEqual(answer.headers["retry-after"], "5")

    def test_user_cannot_be_looked_up(self) -> None:
        """A token can be revoked while its user cannot be looked up, for example by LDAP."""
        token = self.api_token()
        self.assertTrue(self.is_valid(token))
        self.gateway.clock.advance(61)

        async def fail(*_: Any) -> Authentication:
            raise Unavailable("the directory is away")

        self.patch(Owners, "now", fail)
        self.assertEqual(self.revoke(token).status, 200)
        tokens = self.gateway.serving.gateway.tokens
        assert tokens is not None
        self.failureResultOf(Deferred.fromCoroutine(tokens.find(token)), Rejected)

    def test_no_token_store(self) -> None:
        """Without a token store there are no API tokens to revoke."""
        self.gateway = self.make(store=...)
        self.assertEqual(self.revoke("aot_x").status, 200)

    def test_caller(self) -> None:
        """A client that is not authenticated revokes nothing."""
        token = self.api_token()
        answer = self.revoke(token, "")
        self.assertEqual((answer.status, answer.json()["error"]), (401, "invalid_client"))
        self.assertTrue(self.is_valid(token))
