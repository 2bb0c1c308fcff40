"""Reload of the configuration, without a service."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import check
from authotron.config.check import Config
from authotron.daemon.reload import Reloader, Retired
from authotron.model.errors import ConfigError, Problem
from tests.config.cases import BASE


class ReloaderTests(SynchronousTestCase):
    """What a service is asked to do with a configuration that was read again."""

    def setUp(self) -> None:
        self.config = check.check(BASE)
        self.adopted: list[Config] = []
        self.refused: list[Sequence[str]] = []
        self.waiting: Deferred[None] | None = None
        self.reloader = Reloader(
            lambda: self.config,
            self.config,
            self.prepare,
            self.adopted.append,
            self.refused.append,
        )

    async def prepare(self, config: Config) -> Config | None:
        if self.waiting is not None:
            await self.waiting
        return config

    def test_valid_configuration_is_adopted(self) -> None:
        """A valid configuration is prepared and adopted."""
        self.successResultOf(self.reloader.reload())
        self.assertEqual((self.adopted, self.refused), ([self.config], []))

    def test_invalid_configuration_is_refused(self) -> None:
        """The problems of a configuration that cannot be prepared are passed on as strings."""
        self.waiting = Deferred()
        reloading = self.reloader.reload()
        self.waiting.errback(ConfigError([Problem("jwt.exp", "is bad")]))
        self.successResultOf(reloading)
        self.assertEqual((self.adopted, self.refused), ([], [["jwt.exp: is bad"]]))

    def test_defect_is_refused_and_logged(self) -> None:
        """A defect is logged, and refused without its text."""
        self.waiting = Deferred()
        reloading = self.reloader.reload()
        self.waiting.errback(KeyError("canary"))
        self.successResultOf(reloading)
        [[problem]] = self.refused
        self.assertIn("internal error", problem)
        self.assertNotIn("canary", problem)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_second_reload_waits_for_the_first(self) -> None:
        """A second reload begins when the first one is done."""
        self.waiting = Deferred()
        first, second = self.reloader.reload(), self.reloader.reload()
        self.assertNoResult(second)
        waiting, self.waiting = self.waiting, None
        waiting.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(len(self.adopted), 2)


class RetiredTests(SynchronousTestCase):
    """Replaced configurations and stores."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.retired = Retired(self.clock)
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1

    async def fail_to_close(self) -> None:
        raise OSError("stuck")

    def test_closed_after_the_grace(self) -> None:
        """A replaced object is closed after the grace, and not before."""
        self.retired.close_later(10, self.close)
        self.clock.advance(9)
        self.assertEqual(self.closed, 0)
        self.clock.advance(1)
        self.assertEqual(self.closed, 1)

    def test_close_now(self) -> None:
        """When the service stops, all replaced objects are closed at once, each one once."""
        for _ in range(2):
            self.retired.close_later(10, self.close)
        self.retired.close_now()
        self.clock.advance(10)
        self.assertEqual(self.closed, 2)

    def test_failure_is_logged(self) -> None:
        """An object that fails to close is logged."""
        self.retired.close_later(1, self.fail_to_close)
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
