"""The store in memory, and the store of type none."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from authotron.config import plugins, section
from authotron.model.errors import Unavailable
from authotron.plugin.interfaces import ITokenStore
from authotron.stores import memory, none
from authotron.testing.contracts import (
    EmptyStoreContract,
    PolicyStoreContract,
    StoreContract,
    make_token,
)
from authotron.testing.record_contract import RecordStoreContract
from authotron.testing.worlds import world


class MemoryTests(StoreContract, PolicyStoreContract, RecordStoreContract):
    """The store in memory fulfils the contract of stores."""

    async def make(self) -> ITokenStore:
        return memory.make(section.read(memory.Config, {"type": "memory"}), world())


class NoneTests(EmptyStoreContract):
    """The store of type none fulfils the contract of an empty store."""

    async def make(self) -> ITokenStore:
        return none.make(section.read(none.Config, {"type": "none"}), world())

    async def test_refuses_tokens(self) -> None:
        """The store of type none refuses to add a token."""
        store = await self.opened()
        try:
            await store.add(make_token())
        except Unavailable:
            return
        self.fail("it took one")


class KindsTests(TestCase):
    """The types of stores."""

    def test_type_names(self) -> None:
        """Each store has the type that its configuration names."""
        kinds = [plugins.documented_type(module) for module in plugins.every("stores")]
        self.assertEqual(sorted(kinds), ["memory", "mongo", "none", "redis", "sqlite"])


del EmptyStoreContract, PolicyStoreContract, RecordStoreContract, StoreContract
