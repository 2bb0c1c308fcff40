"""A store behind its client, and the pepper of a store that has none."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from twisted.trial.unittest import TestCase as AsynchronousTestCase

from authotron.config import section
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.stores import memory
from authotron.testing.contracts import EmptyStoreContract, StoreContract, make_token
from authotron.testing.worlds import world
from authotron.tokens.bounded_store import StoreClient, derive_pepper


class ClientTests(StoreContract):
    """A store behind its client keeps the contract of stores."""

    async def make(self) -> ITokenStore:
        rules = section.read(memory.Config, {"type": "memory"})
        return StoreClient(memory.MemoryStore(), rules, world().clock)


class SpellingTests(AsynchronousTestCase):
    """Owners whose names are stored in several spellings."""

    async def test_listed_T82a(self) -> None:
        """API tokens that an earlier version stored under other spellings of a name are listed."""
        backend = memory.MemoryStore()
        rules = section.read(memory.Config, {"type": "memory"})
        store = StoreClient(backend, rules, world().clock)
        kept = [
            make_token(username, realm=realm, age=9 - age)
            for age, (realm, username) in enumerate(
                [("Zo\u00eb", "Jose\u0301"), ("Zoe\u0308", "Jos\u00e9"), ("Zo\u00eb", "Jose")]
            )
        ]
        for each in kept:
            await store.add(each)
        for username in ("Jos\u00e9", "Jose\u0301"):
            wanted = TokenQuery("Zo\u00eb", username)
            ids = [each.id for each in await store.list_tokens(wanted)]
            self.assertEqual(ids, [each.id for each in kept[:2]])
            [first] = await store.list_tokens(evolve(wanted, most=1))
            [second] = await store.list_tokens(evolve(wanted, most=1, after=first.id))
            self.assertEqual([first.id, second.id], ids)
        self.assertEqual(len(await store.list_tokens(TokenQuery(username="Jos\u00e9"))), 2)


class PepperTests(SynchronousTestCase):
    """A pepper that is derived from a secret."""

    def test_derived_pepper_hides_the_secret(self) -> None:
        """The pepper does not disclose the secret, and is the same for all gateways."""
        one = derive_pepper("canary")
        self.assertEqual(one, derive_pepper("canary"))
        self.assertNotEqual(one, derive_pepper("canarz"))
        self.assertNotIn(b"canary", one)


del EmptyStoreContract, StoreContract
