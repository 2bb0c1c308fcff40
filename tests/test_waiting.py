"""The waits of the tests themselves: what they return, and what a failure says."""

from __future__ import annotations

from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests import waiting


class UntilTests(SynchronousTestCase):
    """A wait for a condition."""

    def setUp(self) -> None:
        self.patch(waiting, "DEADLINE", 0.0)

    def test_true_at_once(self) -> None:
        """A value that is wanted is returned, even without time left."""
        self.assertEqual(waiting.until(lambda: 7, "seven"), 7)

    def test_never_true(self) -> None:
        """A failure names the condition, the value that was seen last, and what else is known."""
        error = self.assertRaises(
            AssertionError,
            waiting.until,
            lambda: 503,
            "answered",
            wanted=lambda status: status == 200,
            otherwise=lambda: "the log",
        )
        self.assertEqual(str(error), "not answered within 0 s; last seen: 503\nthe log")


class EventuallyTests(SynchronousTestCase):
    """A wait for a condition while the reactor runs."""

    def test_coroutine(self) -> None:
        """A coroutine function is called again, after a pause, until its result is wanted."""
        clock, numbers = Clock(), count()
        self.patch(waiting, "_CLOCK", clock)

        async def number() -> int:
            return next(numbers)

        waits = waiting.eventually(number, "three", wanted=(3).__eq__)
        result = Deferred.fromCoroutine(waits)
        clock.pump([1.0] * 2)
        self.assertNoResult(result)
        clock.pump([1.0])
        self.assertEqual(self.successResultOf(result), 3)
