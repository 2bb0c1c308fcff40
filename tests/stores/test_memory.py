"""Tokens in memory, and none at all."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from authotron.config import plugins, section
from authotron.model.errors import Unavailable
from authotron.plugin.interfaces import ITokenStore
from authotron.stores import memory, none
from authotron.testing.contracts import EmptyStoreContract, StoreContract, make_token
from authotron.testing.worlds import world


class MemoryTests(StoreContract):
    """The store in memory is a store."""

    async def make(self) -> ITokenStore:
        return memory.make(section.read(memory.Config, {"type": "memory"}), world())


class NoneTests(EmptyStoreContract):
    """So is none, as far as it goes."""

    async def make(self) -> ITokenStore:
        return none.make(section.read(none.Config, {"type": "none"}), world())

    async def test_full(self) -> None:
        """It takes no token."""
        store = await self.opened()
        try:
            await store.add(make_token())
        except Unavailable:
            return
        self.fail("it took one")


class KindsTests(TestCase):
    """The types of stores."""

    def test_documented(self) -> None:
        """Each is found under the type that its configuration names."""
        kinds = [plugins.documented_type(module) for module in plugins.every("stores")]
        self.assertEqual(sorted(kinds), ["memory", "mongo", "none", "redis", "sqlite"])


del EmptyStoreContract, StoreContract
