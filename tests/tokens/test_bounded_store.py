"""A store behind its client, and the pepper of a store that has none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.trial.unittest import TestCase as AsynchronousTestCase
from zope.interface import implementer

from authotron.config import section
from authotron.model.errors import TimedOut, Unavailable
from authotron.model.records import Record
from authotron.plugin.interfaces import IKeepsRecords, ITokenStore, TokenQuery
from authotron.stores import memory
from authotron.testing.contracts import EmptyStoreContract, StoreContract, make_token
from authotron.testing.worlds import world
from authotron.tokens.bounded_store import StoreClient, derive_pepper


def rules(**over: object) -> memory.Config:
    return section.read(memory.Config, {"type": "memory", **over})


class ClientTests(StoreContract):
    """A store behind its client keeps the contract of stores."""

    async def make(self) -> ITokenStore:
        return StoreClient(memory.MemoryStore(), rules(), world().clock)


class SpellingTests(AsynchronousTestCase):
    """Owners whose names are stored in several spellings."""

    async def test_listed_T82a(self) -> None:
        """API tokens that an earlier version stored under other spellings of a name are listed."""
        backend = memory.MemoryStore()
        store = StoreClient(backend, rules(), world().clock)
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


@implementer(IKeepsRecords)
class Recording:
    """A backend that notes how its methods for records are called."""

    type = "recording"

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.answer: Deferred[Any] = succeed("the answer")

    def __getattr__(self, name: str) -> Any:
        async def noted(*given: object) -> Any:
            self.calls.append((name, *given))
            return await self.answer

        return noted

    def on_change(self, notify: Any) -> Any:
        return notify


class RecordsTests(SynchronousTestCase):
    """Records of a store behind its client."""

    def setUp(self) -> None:
        self.clock = world().clock
        self.backend = Recording()
        backend: Any = self.backend
        self.store = StoreClient(backend, rules(timeout=2), self.clock)

    def call(self, name: str, *given: object) -> Deferred[Any]:
        return Deferred.fromCoroutine(getattr(self.store, name)(*given))

    def test_calls_reach_the_store(self) -> None:
        """Each call reaches the store, and its answer the caller."""
        record = Record("revocation", "1", "text")
        calls: list[tuple[object, ...]] = [
            ("add_record", record, 5.0),
            ("record", "revocation", "1", 5.0),
            ("records", "revocation", 5.0),
            ("replace_record", record, record),
            ("remove_record", "revocation", "1"),
            ("changes", None),
        ]
        for name, *given in calls:
            self.assertEqual(self.successResultOf(self.call(str(name), *given)), "the answer")
        self.assertEqual(self.backend.calls, calls)
        self.assertEqual(self.store.on_change(self.setUp), self.setUp)
        self.assertTrue(self.store.keeps_records)

    def test_silent_store(self) -> None:
        """A call that the store does not answer in time fails."""
        self.backend.answer = Deferred()
        call = self.call("records", "revocation", 5.0)
        cast(Clock, self.clock).advance(2)
        self.failureResultOf(call, TimedOut)

    def test_store_without_records(self) -> None:
        """A store of a type that keeps no records is unavailable for them."""
        store = StoreClient(SimpleNamespace(type="plain"), rules(), self.clock)  # type: ignore[arg-type] # a backend without methods
        call = Deferred.fromCoroutine(store.record("revocation", "1", 5.0))
        self.assertIn("of type plain does not keep records", str(self.failureResultOf(call).value))
        self.assertRaises(Unavailable, store.on_change, self.setUp)
        self.assertFalse(store.keeps_records)


class PepperTests(SynchronousTestCase):
    """A pepper that is derived from a secret."""

    def test_derived_pepper_hides_the_secret(self) -> None:
        """The pepper does not disclose the secret, and is the same for all gateways."""
        one = derive_pepper("canary")
        self.assertEqual(one, derive_pepper("canary"))
        self.assertNotEqual(one, derive_pepper("canarz"))
        self.assertNotIn(b"canary", one)


del EmptyStoreContract, StoreContract
