"""Tokens of other services after an import."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import schema, section
from authotron.model.authentication import Authentication
from authotron.model.errors import ConfigError, NoSuchToken, Rejected
from authotron.model.identity import Credential, Identity
from authotron.model.token import IMPORTED, Grant, generate
from authotron.plugin.interfaces import Affinity, IProvider, TokenQuery
from authotron.stores import memory
from authotron.testing.issuers import IDP
from authotron.testing.worlds import NOW, clock_at
from authotron.tokens import imported, service
from authotron.tokens.grants import TokenRequest
from authotron.tokens.imported import ForeignToken
from authotron.tokens.owners import Owners
from authotron.tokens.provider import TokenProvider
from authotron.tokens.service import TokenService
from tests.tokens.test_provider import Directory

OLD = "an-old-token-of-the-acl-proxy"
PEPPER = "old pepper"
HASH = sha256((OLD + PEPPER).encode()).hexdigest()
UUID = "0b0e8ab1-5b1c-4f0e-9d5e-0e6f0c3f7a11"
ORIGIN = IMPORTED + imported.ACL_PROXY
OWNER = Identity("machines", "mail@example.org", ("reader",))
BY_OWNER = Authentication(OWNER, ORIGIN)


class ImportedCase(SynchronousTestCase):
    """A store into which tokens are imported."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.store = memory.MemoryStore()
        self.tokens = self.made()

    def made(self, secret: str | None = None, **over: Any) -> TokenService:
        given = {"type": "memory", "imported": True, "acl_proxy_pepper": PEPPER, **over}
        rules = section.read(memory.Config, given)
        return service.make(
            self.store, section.read(schema.TokensConfig, {}), rules, self.clock, secret
        )

    def done(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def refused(self, work: Any) -> None:
        self.failureResultOf(Deferred.fromCoroutine(work), Rejected)

    def copy(self, **over: Any) -> bool:
        copied = evolve(ForeignToken(OWNER, provider=ORIGIN), **over)
        added: bool = self.done(self.tokens.imported.copy(imported.of_acl_proxy(HASH), copied))
        return added


class FindTests(ImportedCase):
    """Imported tokens are found in the store."""

    def test_acl_proxy(self) -> None:
        """A token of an acl-proxy is verified with the old pepper, by its hash."""
        self.assertTrue(self.copy())
        self.assertEqual(self.done(self.tokens.find(OLD)).owner, OWNER)
        self.refused(self.tokens.find(OLD + "x"))

    def test_several_peppers(self) -> None:
        """Tokens of an acl-proxy that changed its pepper are found with either pepper."""
        self.copy()
        self.tokens = self.made(acl_proxy_pepper=f"newer\n{PEPPER}")
        self.assertEqual(self.done(self.tokens.find(OLD)).owner, OWNER)

    def test_auth_o_tron(self) -> None:
        """A token of an auth-o-tron is found, although only a keyed hash is stored here."""
        self.done(
            self.tokens.imported.copy(
                imported.of_auth_o_tron(UUID), ForeignToken(OWNER, provider=ORIGIN)
            )
        )
        token = self.done(self.tokens.find(UUID))
        self.assertEqual(token.owner, OWNER)
        self.assertNotIn(UUID, str(token.row()))

    def test_stored_hash_is_not_a_token_T50(self) -> None:
        """What an acl-proxy or this store contains cannot be used as a token."""
        self.copy()
        [token] = self.done(self.store.list_tokens(TokenQuery()))
        for text in (HASH, f"acl-proxy:{HASH}", token.hashed, token.id):
            self.refused(self.tokens.find(text))

    def test_revoked_by_id_or_token(self) -> None:
        """Only the owner revokes an imported token, by its id or by the token itself."""
        self.copy()
        self.done(
            self.tokens.imported.copy(
                imported.of_auth_o_tron(UUID), ForeignToken(OWNER, provider=ORIGIN)
            )
        )
        for text in (OLD, UUID):
            stranger = self.tokens.revoke(Authentication(Identity("machines", "stranger")), text)
            self.failureResultOf(Deferred.fromCoroutine(stranger), NoSuchToken)
            self.done(self.tokens.revoke(BY_OWNER, text))
            self.refused(self.tokens.find(text))

    def test_id_needs_the_pepper_T50(self) -> None:
        """Without the pepper nothing in the store helps to guess a weak token."""
        ids = []
        for pepper in ("the-first-of-two-peppers", "the-other-of-two-peppers"):
            self.store, self.tokens = memory.MemoryStore(), self.made(pepper=pepper)
            self.done(
                self.tokens.imported.copy(
                    imported.of_auth_o_tron(UUID), ForeignToken(OWNER, provider=ORIGIN)
                )
            )
            ids.append(self.done(self.tokens.find(UUID)).id)
        self.assertNotEqual(*ids)

    def test_while_the_store_opens(self) -> None:
        """An imported token is looked up only after the pepper of the store was read."""
        key, opening = b"a pepper beside the store", Deferred[None]()

        class Slow(memory.MemoryStore):
            async def open(self) -> None:
                await opening
                self.pepper = key

        self.store = Slow()
        self.store.pepper = key
        self.tokens = self.made(secret="a secret that is not used")
        self.copy()
        self.store.pepper = None
        opened = Deferred.fromCoroutine(self.tokens.store.open())
        found = Deferred.fromCoroutine(self.tokens.find(OLD))
        self.assertNoResult(found)
        opening.callback(None)
        self.successResultOf(opened)
        self.assertEqual(self.successResultOf(found).owner, OWNER)

    def test_newer_pepper(self) -> None:
        """After a pepper was added, imported tokens are found and are not imported again."""
        older, newer = "the-older-of-two-peppers", "the-newer-of-two-peppers"
        self.tokens = self.made(pepper=older)
        self.assertTrue(self.copy())
        self.tokens = self.made(pepper=f"{newer} {older}")
        self.assertEqual(self.done(self.tokens.find(OLD)).owner, OWNER)
        self.assertFalse(self.copy())

    def test_second_import(self) -> None:
        """A second import changes nothing."""
        self.assertTrue(self.copy(comment="first"))
        self.assertFalse(self.copy(comment="second"))
        self.assertEqual(self.done(self.tokens.find(OLD)).comment, "first")

    def test_revoked_T86a(self) -> None:
        """A second import does not restore tokens that were revoked here."""
        self.copy()
        self.done(self.tokens.revoke(BY_OWNER, OLD))
        self.assertFalse(self.copy())
        self.refused(self.tokens.find(OLD))

    def test_expiry(self) -> None:
        """The expiry of the source is kept; a token without one gets C{max_ttl}."""
        self.copy(grant=Grant(expires=NOW + 60))
        self.clock.advance(60)
        self.refused(self.tokens.find(OLD))
        self.done(
            self.tokens.imported.copy(
                imported.of_auth_o_tron(UUID), ForeignToken(OWNER, provider=ORIGIN)
            )
        )
        end = self.done(self.tokens.find(UUID)).grant.expires
        self.assertEqual(end, NOW + 60 + self.tokens.config.max_ttl)

    def test_switched_off(self) -> None:
        """Without C{imported: true} the store is not asked about other tokens."""
        self.copy()
        self.tokens = self.made(imported=False, acl_proxy_pepper=None)
        self.refused(self.tokens.find(OLD))
        self.assertRaises(ConfigError, self.made, imported=False)


class JudgeTests(ImportedCase):
    """Imported tokens beside other providers."""

    def affinity(self, token: str) -> Affinity:
        return self.judge().affinity(Credential("bearer", token))

    def judge(self, *providers: IProvider) -> TokenProvider:
        return TokenProvider(self.tokens, Owners(providers, self.clock, 60), self.clock)

    def test_affinity(self) -> None:
        """Any opaque token may be an imported one, but not a JWT or an API token C{aot_...}."""
        self.assertIs(self.affinity(OLD), Affinity.POSSIBLE)
        self.assertIs(self.affinity(IDP.sign()), Affinity.FOREIGN)
        self.assertIs(self.affinity("x" * 5000), Affinity.FOREIGN)
        self.assertIs(self.affinity(generate(NOW).text), Affinity.OWN)
        self.tokens = self.made(imported=False, acl_proxy_pepper=None)
        self.assertIs(self.affinity(OLD), Affinity.FOREIGN)

    def test_realm_without_providers(self) -> None:
        """In a realm without providers the owner is the one of the import."""
        self.copy()
        identity = self.done(self.judge().authenticate(Credential("bearer", OLD))).identity
        self.assertEqual((identity.username, identity.roles), (OWNER.username, OWNER.roles))

    def test_provider_of_the_same_name(self) -> None:
        """A provider that is named like a service is missed after it was removed."""
        for name in ("acl-proxy", "auth-o-tron"):
            maker = Authentication(Identity("gone", "mallory"), name)
            presented, _ = self.done(self.tokens.make(maker, TokenRequest(), can_look_up=False))
            self.refused(self.judge().authenticate(Credential("bearer", presented.text)))

    def test_token_of_a_token(self) -> None:
        """An API token created with an imported token is valid as long as its owner is."""
        self.copy()
        owner = self.done(self.judge().authenticate(Credential("bearer", OLD)))
        presented, _ = self.done(self.tokens.make(owner, TokenRequest(), can_look_up=False))
        made = self.done(self.judge().authenticate(Credential("bearer", presented.text)))
        self.assertEqual(made.identity.username, OWNER.username)

    def test_realm_with_a_provider(self) -> None:
        """If a provider can look up users of the realm, its answer counts."""
        self.copy()
        gone = Directory(realm="machines", says=Rejected("gone"))
        self.refused(self.judge(gone).authenticate(Credential("bearer", OLD)))
