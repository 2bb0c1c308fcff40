"""A store behind its client, and a pepper for a store that has none."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron import settings
from authotron.store_client import StoreClient, derived_pepper
from authotron.stores import ITokenStore, memory
from tests.contracts import NoTokens, StoreContract
from tests.worlds import world


class ClientTests(StoreContract):
    """Behind its client a store is a store."""

    async def make(self) -> ITokenStore:
        rules = settings.read(memory.Config, {"type": "memory"})
        return StoreClient(memory.MemoryStore(), rules, world().clock)


class PepperTests(SynchronousTestCase):
    """A pepper that follows from a secret."""

    def test_derived(self) -> None:
        """It does not show the secret, and is the same everywhere."""
        one = derived_pepper("canary")
        self.assertEqual(one, derived_pepper("canary"))
        self.assertNotEqual(one, derived_pepper("canarz"))
        self.assertNotIn(b"canary", one)


del NoTokens, StoreContract
