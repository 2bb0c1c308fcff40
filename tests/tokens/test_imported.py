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
    """A store into which tokens are copied."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.store = memory.MemoryStore()
        self.tokens = self.made()

    def made(self, spare: bytes | None = None, **over: Any) -> TokenService:
        given = {"type": "memory", "imported": True, "acl_proxy_pepper": PEPPER, **over}
        rules = section.read(memory.Config, given)
        return service.make(
            self.store, section.read(schema.TokensConfig, {}), rules, self.clock, spare
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
    """They go on being good."""

    def test_acl_proxy(self) -> None:
        """By the old pepper, although only a hash was ever stored."""
        self.assertTrue(self.copy())
        self.assertEqual(self.done(self.tokens.find(OLD)).owner, OWNER)
        self.refused(self.tokens.find(OLD + "x"))

    def test_several_peppers(self) -> None:
        """Of an acl-proxy that has changed it."""
        self.copy()
        self.tokens = self.made(acl_proxy_pepper=f"newer\n{PEPPER}")
        self.assertEqual(self.done(self.tokens.find(OLD)).owner, OWNER)

    def test_auth_o_tron(self) -> None:
        """By the token itself, of which only a keyed hash is kept here."""
        self.done(
            self.tokens.imported.copy(
                imported.of_auth_o_tron(UUID), ForeignToken(OWNER, provider=ORIGIN)
            )
        )
        token = self.done(self.tokens.find(UUID))
        self.assertEqual(token.owner, OWNER)
        self.assertNotIn(UUID, str(token.row()))

    def test_what_was_stored_is_no_token_T50(self) -> None:
        """Who has read the store of an acl-proxy, or ours, has no token."""
        self.copy()
        [token] = self.done(self.store.listed(TokenQuery()))
        for text in (HASH, f"acl-proxy:{HASH}", token.hashed, token.id):
            self.refused(self.tokens.find(text))

    def test_revoked_by_what_is_held(self) -> None:
        """As every token, by its id or by itself, and by its owner alone."""
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

    def test_id_follows_from_no_guess_T50(self) -> None:
        """Who has read our store cannot try guesses of a weak token without the pepper."""
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
        """Nothing is looked for before the pepper beside the store is known."""
        key, opening = b"a pepper beside the store", Deferred[None]()

        class Slow(memory.MemoryStore):
            async def open(self) -> None:
                await opening
                self.pepper = key

        self.store = Slow()
        self.store.pepper = key
        self.tokens = self.made(spare=b"a pepper that is not used")
        self.copy()
        self.store.pepper = None
        opened = Deferred.fromCoroutine(self.tokens.store.open())
        found = Deferred.fromCoroutine(self.tokens.find(OLD))
        self.assertNoResult(found)
        opening.callback(None)
        self.successResultOf(opened)
        self.assertEqual(self.successResultOf(found).owner, OWNER)

    def test_newer_pepper(self) -> None:
        """With a newer pepper of ours they are still found, and still here for a second import."""
        older, newer = "the-older-of-two-peppers", "the-newer-of-two-peppers"
        self.tokens = self.made(pepper=older)
        self.assertTrue(self.copy())
        self.tokens = self.made(pepper=f"{newer} {older}")
        self.assertEqual(self.done(self.tokens.find(OLD)).owner, OWNER)
        self.assertFalse(self.copy())

    def test_twice(self) -> None:
        """A second import changes nothing."""
        self.assertTrue(self.copy(comment="first"))
        self.assertFalse(self.copy(comment="second"))
        self.assertEqual(self.done(self.tokens.find(OLD)).comment, "first")

    def test_revoked_T86a(self) -> None:
        """A second import does not bring back what was revoked here since the first one."""
        self.copy()
        self.done(self.tokens.revoke(BY_OWNER, OLD))
        self.assertFalse(self.copy())
        self.refused(self.tokens.find(OLD))

    def test_end(self) -> None:
        """The end is that of the source; one without an end gets one."""
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
        """Where they are not wanted nobody looks for them."""
        self.copy()
        self.tokens = self.made(imported=False, acl_proxy_pepper=None)
        self.refused(self.tokens.find(OLD))
        self.assertRaises(ConfigError, self.made, imported=False)


class JudgeTests(ImportedCase):
    """Beside other providers."""

    def affinity(self, token: str) -> Affinity:
        return self.judge().affinity(Credential("bearer", token))

    def judge(self, *providers: IProvider) -> TokenProvider:
        return TokenProvider(self.tokens, Owners(providers, self.clock, 60), self.clock)

    def test_affinity(self) -> None:
        """Any opaque token may be one; a JSON Web Token is none, and ours are ours alone."""
        self.assertIs(self.affinity(OLD), Affinity.POSSIBLE)
        self.assertIs(self.affinity(IDP.sign()), Affinity.FOREIGN)
        self.assertIs(self.affinity("x" * 5000), Affinity.FOREIGN)
        self.assertIs(self.affinity(generate(NOW).text), Affinity.OWN)
        self.tokens = self.made(imported=False, acl_proxy_pepper=None)
        self.assertIs(self.affinity(OLD), Affinity.FOREIGN)

    def test_nobody_knows_the_realm(self) -> None:
        """An owner in a realm of no provider is whom the import named."""
        self.copy()
        identity = self.done(self.judge().authenticate(Credential("bearer", OLD))).identity
        self.assertEqual((identity.username, identity.roles), (OWNER.username, OWNER.roles))

    def test_provider_of_the_same_name(self) -> None:
        """A provider that happens to be called as a service is missed when it is gone."""
        for name in ("acl-proxy", "auth-o-tron"):
            maker = Authentication(Identity("gone", "mallory"), name)
            presented, _ = self.done(self.tokens.make(maker, TokenRequest(), can_look_up=False))
            self.refused(self.judge().authenticate(Credential("bearer", presented.text)))

    def test_token_of_a_token(self) -> None:
        """What the owner of an imported token makes is good as long as the owner is."""
        self.copy()
        owner = self.done(self.judge().authenticate(Credential("bearer", OLD)))
        presented, _ = self.done(self.tokens.make(owner, TokenRequest(), can_look_up=False))
        made = self.done(self.judge().authenticate(Credential("bearer", presented.text)))
        self.assertEqual(made.identity.username, OWNER.username)

    def test_somebody_knows_the_realm(self) -> None:
        """Where a provider knows the users of the realm, it has the last word."""
        self.copy()
        gone = Directory(realm="machines", says=Rejected("gone"))
        self.refused(self.judge(gone).authenticate(Credential("bearer", OLD)))
