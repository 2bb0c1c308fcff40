"""Races, timeouts and cancellation."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency.racing import (
    AllFailed,
    first_success,
    shield,
    start,
    wait_all,
    with_timeout,
)
from authotron.model.errors import Rejected, TimedOut


class Slow:
    """An attempt that ends when the test says so."""

    def __init__(self) -> None:
        self.cancelled = self.begun = False
        self.answer: Deferred[str] = Deferred(self._cancel)

    def _cancel(self, _: Deferred[str]) -> None:
        self.cancelled = True

    async def __call__(self) -> str:
        self.begun = True
        return await self.answer


async def quick() -> str:
    return "quick"


async def refused() -> str:
    raise Rejected("no")


class FirstSuccessTests(SynchronousTestCase):
    """The first success wins the race."""

    def setUp(self) -> None:
        self.clock = Clock()

    def race(self, *attempts: Any, in_order: bool = False) -> Deferred[str]:
        return Deferred.fromCoroutine(
            first_success(self.clock, attempts, lambda each: start(each()), in_order=in_order)
        )

    def test_first_success_cancels_the_others(self) -> None:
        """The first entrant that succeeds wins, and the others are cancelled."""
        slow, slower = Slow(), Slow()
        d = self.race(slow, slower)
        slower.answer.callback("won")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(d), "won")
        self.assertTrue(slow.cancelled)

    def test_success_without_waiting_ends_the_race(self) -> None:
        """An entrant that succeeds without waiting wins before later entrants are asked."""
        slow = Slow()
        self.assertEqual(self.successResultOf(self.race(quick, slow)), "quick")
        self.assertFalse(slow.begun)

    def test_success_without_waiting_cancels_earlier_entrants(self) -> None:
        """
        An entrant that succeeds without waiting wins over earlier entrants, which are
        cancelled.
        """
        slow = Slow()
        self.assertEqual(self.successResultOf(self.race(slow, quick)), "quick")
        self.assertTrue(slow.cancelled)

    def test_order_decides_in_one_turn_T46(self) -> None:
        """If two entrants succeed in the same reactor turn, the one configured first wins."""
        slow, slower = Slow(), Slow()
        d = self.race(slow, slower)
        slower.answer.callback("second")
        slow.answer.callback("first")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(d), "first")

    def test_success_after_refusals(self) -> None:
        """A refusal does not end the race."""
        slow, slower = Slow(), Slow()
        d = self.race(refused, slow, slower)
        slow.answer.errback(Rejected())
        slower.answer.callback("won")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(d), "won")

    def test_reasons_in_order_if_all_fail(self) -> None:
        """If every entrant fails, the reasons are given in the order of the entrants."""
        slow = Slow()
        d = self.race(slow, refused)
        self.assertNoResult(d)
        slow.answer.errback(ValueError("broken"))
        reasons = self.failureResultOf(d, AllFailed).value.reasons
        self.assertEqual(list(map(str, reasons)), ["broken", "no"])

    def test_race_without_entrants_fails(self) -> None:
        """A race without entrants fails at once."""
        self.failureResultOf(self.race(), AllFailed)

    def test_cancelled_race_cancels_every_entrant(self) -> None:
        """If the race is cancelled, every entrant is cancelled, and none has failed."""
        slow, slower = Slow(), Slow()
        d = self.race(slow, slower)
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.assertTrue(slow.cancelled and slower.cancelled)

    def test_in_order_waits_for_earlier_entrants_T46(self) -> None:
        """In order, a later success waits until every earlier entrant has failed."""
        slow, slower = Slow(), Slow()
        d = self.race(slow, slower, in_order=True)
        slower.answer.callback("later")
        self.clock.advance(0)
        self.assertNoResult(d)
        slow.answer.errback(Rejected())
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(d), "later")

    def test_in_order_prefers_the_earlier_success_T46(self) -> None:
        """In order, an earlier entrant that succeeds late wins over a later one."""
        slow = Slow()
        d = self.race(slow, quick, in_order=True)
        self.assertNoResult(d)
        slow.answer.callback("earlier")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(d), "earlier")


class TimeoutTests(SynchronousTestCase):
    """Work with a timeout."""

    def test_in_time_leaves_no_timer(self) -> None:
        """Work that ends in time leaves no timer in the reactor."""
        clock, slow = Clock(), Slow()
        d = Deferred.fromCoroutine(with_timeout(clock, 5, slow()))
        slow.answer.callback("done")
        self.assertEqual(self.successResultOf(d), "done")
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_no_timer_without_waiting(self) -> None:
        """Work that need not wait starts no timer."""
        clock = Clock()
        clock.callLater = None  # type: ignore[assignment] # must not be called
        self.assertEqual(
            self.successResultOf(Deferred.fromCoroutine(with_timeout(clock, 5, quick()))), "quick"
        )

    def test_timeout_cancels(self) -> None:
        """Work that exceeds its timeout is cancelled."""
        clock, slow = Clock(), Slow()
        d = Deferred.fromCoroutine(with_timeout(clock, 5, slow()))
        clock.advance(5)
        self.failureResultOf(d, TimedOut)
        self.assertTrue(slow.cancelled)

    def test_work_that_waits_repeatedly(self) -> None:
        """Work that waits repeatedly, and catches failures, runs to its end."""
        waits: list[Deferred[str]] = [Deferred() for _ in range(3)]

        async def work() -> list[str]:
            heard = [await waits[0]]
            try:
                await waits[1]
            except ValueError as error:
                heard.append(str(error))
            return [*heard, await waits[2]]

        d = Deferred.fromCoroutine(with_timeout(Clock(), 5, work()))
        waits[0].callback("one")
        waits[1].errback(ValueError("two"))
        self.assertNoResult(d)
        waits[2].callback("three")
        self.assertEqual(self.successResultOf(d), ["one", "two", "three"])

    def test_failure_after_waiting(self) -> None:
        """A failure after a wait is raised to the caller."""
        slow = Slow()
        d = Deferred.fromCoroutine(with_timeout(Clock(), 5, slow()))
        slow.answer.errback(Rejected("late"))
        self.failureResultOf(d, Rejected)

    def test_failure_without_waiting(self) -> None:
        """A failure without waiting is raised to the caller."""
        self.failureResultOf(Deferred.fromCoroutine(with_timeout(Clock(), 5, refused())), Rejected)


class ShieldTests(SynchronousTestCase):
    """Work that is not cancelled with its caller."""

    def start(self, asked: Deferred[str]) -> Deferred[str]:
        async def work() -> str:
            return await asked

        self.unheard: list[Failure] = []
        return Deferred.fromCoroutine(shield(work(), self.unheard.append))

    def test_caller_gets_the_outcome(self) -> None:
        """The caller gets the result, or the failure."""
        asked = Deferred[str]()
        waiting = self.start(asked)
        asked.callback("done")
        self.assertEqual(self.successResultOf(waiting), "done")
        self.assertEqual(self.successResultOf(self.start(succeed("at once"))), "at once")
        self.failureResultOf(self.start(fail(ValueError())), ValueError)
        self.assertEqual(self.unheard, [])

    def test_cancelled_caller_S_AUDIT(self) -> None:
        """
        If the caller is cancelled, the work goes on, and its failure is passed to the
        callback.
        """
        for outcome in ("done", Failure(ValueError())):
            cancelled: list[Any] = []
            asked: Deferred[str] = Deferred(cancelled.append)
            waiting = self.start(asked)
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
            asked.callback(outcome)
            self.assertEqual(cancelled, [])
            self.assertEqual(
                [each.type for each in self.unheard], [ValueError][: outcome != "done"]
            )


class WaitAllTests(SynchronousTestCase):
    """Waiting for several pieces of work."""

    def test_result_or_failure_of_each(self) -> None:
        """
        Each piece of work gives its result or its failure; one failure does not affect the
        others.
        """
        slow = Slow()
        d = Deferred.fromCoroutine(wait_all([start(refused()), start(slow())]))
        slow.answer.callback("done")
        failure, done = self.successResultOf(d)
        assert isinstance(failure, Failure)
        self.assertTrue(failure.check(Rejected))
        self.assertEqual(done, "done")

    def test_outcomes_without_waiting(self) -> None:
        """If no work has to wait, the outcomes are there at once."""
        failure, quickly = self.successResultOf(
            Deferred.fromCoroutine(wait_all([start(refused()), start(quick())]))
        )
        assert isinstance(failure, Failure)
        self.assertTrue(failure.check(Rejected))
        self.assertEqual(quickly, "quick")

    def test_cancelled_caller_cancels_all_work(self) -> None:
        """If the caller is cancelled, all work is cancelled."""
        slow = Slow()
        d = Deferred.fromCoroutine(wait_all([start(slow())]))
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.assertTrue(slow.cancelled)
