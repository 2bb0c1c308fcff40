"""Commands compose the gateway of a configuration in one way."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli import composed
from authotron.config import check
from authotron.daemon.runtime import Pool
from authotron.model.errors import ConfigError, Problem
from authotron.stores import memory
from tests.config.cases import BASE


class ComposedTests(SynchronousTestCase):
    """The gateway exists for one block; whatever happens, its threads end."""

    def setUp(self) -> None:
        self.pools: list[Pool] = []

        class Recorded(Pool):
            def __init__(pool, reactor: Any) -> None:
                super().__init__(reactor)
                self.pools.append(pool)

        self.patch(composed, "Pool", Recorded)

    def compose(self, during: Any = None) -> Deferred[Any]:
        async def run() -> object:
            config = check.check({**BASE, "store": {"type": "memory"}})
            async with composed.composed(MemoryReactorClock(), config) as (gateway, _):  # type: ignore[arg-type] # as much as is needed
                self.assertEqual([pool.running for pool in self.pools], [1])
                if during is not None:
                    await during(gateway)
                return gateway

        return Deferred.fromCoroutine(run())

    def assert_stopped(self) -> None:
        self.assertEqual([pool.running for pool in self.pools], [0])

    def test_threads_end_after_the_block(self) -> None:
        """After the block the threads have ended."""
        gateway = self.successResultOf(self.compose())
        self.assertEqual(gateway.authenticator.providers[0].name, "staff")
        self.assert_stopped()

    def test_store_is_closed_if_the_block_fails(self) -> None:
        """If the block fails, the token store is closed and the threads end."""
        closed = []

        async def close(store: object) -> None:
            closed.append(store)

        async def fail(_gateway: object) -> None:
            raise RuntimeError

        self.patch(memory.MemoryStore, "close", close)

        self.failureResultOf(self.compose(fail), RuntimeError)
        self.assertEqual(len(closed), 1)
        self.assert_stopped()

    def test_threads_end_if_composing_fails(self) -> None:
        """If the plugins do not fit, the command exits with 78 and the threads end."""

        def broken(*_: object) -> None:
            raise ConfigError([Problem("providers", "do not fit")])

        self.patch(composed, "compose", broken)
        failure = self.failureResultOf(self.compose(), SystemExit)
        self.assertEqual(failure.value.code, 78)
        self.assert_stopped()
