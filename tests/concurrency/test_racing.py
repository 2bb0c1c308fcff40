"""Races, cancelling and time limits."""

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
    """An attempt that ends when it is told to."""

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
    """The first success wins."""

    def setUp(self) -> None:
        self.clock = Clock()

    def race(self, *attempts: Any, in_order: bool = False) -> Deferred[str]:
        return Deferred.fromCoroutine(
            first_success(self.clock, attempts, lambda each: start(each()), in_order=in_order)
        )

    def test_first(self) -> None:
        """The first to succeed wins, and the others are cancelled."""
        slow, slower = Slow(), Slow()
        d = self.race(slow, slower)
        slower.answer.callback("won")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(d), "won")
        self.assertTrue(slow.cancelled)

    def test_at_once(self) -> None:
        """One that need not wait wins before later ones begin."""
        slow = Slow()
        self.assertEqual(self.successResultOf(self.race(quick, slow)), "quick")
        self.assertFalse(slow.begun)

    def test_at_once_cancels_earlier(self) -> None:
        """One that need not wait wins over earlier ones that must, which are cancelled."""
        slow = Slow()
        self.assertEqual(self.successResultOf(self.race(slow, quick)), "quick")
        self.assertTrue(slow.cancelled)

    def test_same_turn_T46(self) -> None:
        """Of two successes in one turn of the reactor the one configured first counts."""
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

    def test_all_failed(self) -> None:
        """When nobody succeeds, the reasons are told in the order of the attempts."""
        slow = Slow()
        d = self.race(slow, refused)
        self.assertNoResult(d)
        slow.answer.errback(ValueError("broken"))
        reasons = self.failureResultOf(d, AllFailed).value.reasons
        self.assertEqual(list(map(str, reasons)), ["broken", "no"])

    def test_nobody(self) -> None:
        """A race of nobody ends at once."""
        self.failureResultOf(self.race(), AllFailed)

    def test_abandoned(self) -> None:
        """When the client goes away every attempt is cancelled and nobody is refused."""
        slow, slower = Slow(), Slow()
        d = self.race(slow, slower)
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.assertTrue(slow.cancelled and slower.cancelled)

    def test_in_order_waits_T46(self) -> None:
        """In order, a later yes waits until every earlier attempt has said no."""
        slow, slower = Slow(), Slow()
        d = self.race(slow, slower, in_order=True)
        slower.answer.callback("later")
        self.clock.advance(0)
        self.assertNoResult(d)
        slow.answer.errback(Rejected())
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(d), "later")

    def test_in_order_prefers_T46(self) -> None:
        """In order, an earlier yes that comes late counts more than a later one."""
        slow = Slow()
        d = self.race(slow, quick, in_order=True)
        self.assertNoResult(d)
        slow.answer.callback("earlier")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(d), "earlier")


class WithinTests(SynchronousTestCase):
    """Time limits."""

    def test_in_time(self) -> None:
        """What answers in time leaves no timer behind."""
        clock, slow = Clock(), Slow()
        d = Deferred.fromCoroutine(with_timeout(clock, 5, slow()))
        slow.answer.callback("done")
        self.assertEqual(self.successResultOf(d), "done")
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_no_timer(self) -> None:
        """What need not wait starts no timer."""
        clock = Clock()
        clock.callLater = None  # type: ignore[assignment] # nobody may call it
        self.assertEqual(
            self.successResultOf(Deferred.fromCoroutine(with_timeout(clock, 5, quick()))), "quick"
        )

    def test_too_late(self) -> None:
        """What takes too long is cancelled."""
        clock, slow = Clock(), Slow()
        d = Deferred.fromCoroutine(with_timeout(clock, 5, slow()))
        clock.advance(5)
        self.failureResultOf(d, TimedOut)
        self.assertTrue(slow.cancelled)

    def test_long_way(self) -> None:
        """Work that waits again and again, and bears failures, comes to its end."""
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

    def test_fails_late(self) -> None:
        """A failure after a wait is the failure of the whole."""
        slow = Slow()
        d = Deferred.fromCoroutine(with_timeout(Clock(), 5, slow()))
        slow.answer.errback(Rejected("late"))
        self.failureResultOf(d, Rejected)

    def test_fails_at_once(self) -> None:
        """So is one before any."""
        self.failureResultOf(Deferred.fromCoroutine(with_timeout(Clock(), 5, refused())), Rejected)


class ToTheEndTests(SynchronousTestCase):
    """Work that is not cancelled."""

    def start(self, asked: Deferred[str]) -> Deferred[str]:
        async def work() -> str:
            return await asked

        self.unheard: list[Failure] = []
        return Deferred.fromCoroutine(shield(work(), self.unheard.append))

    def test_awaited(self) -> None:
        """The caller gets the result, or the failure."""
        asked = Deferred[str]()
        waiting = self.start(asked)
        asked.callback("done")
        self.assertEqual(self.successResultOf(waiting), "done")
        self.assertEqual(self.successResultOf(self.start(succeed("at once"))), "at once")
        self.failureResultOf(self.start(fail(ValueError())), ValueError)
        self.assertEqual(self.unheard, [])

    def test_abandoned_S_AUDIT(self) -> None:
        """Where the caller leaves the work goes on, and a failure of it is told to C{unheard}."""
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


class EveryoneTests(SynchronousTestCase):
    """All of many."""

    def test_outcomes(self) -> None:
        """Each gives its result or its failure; one failure does not spoil the others."""
        slow = Slow()
        d = Deferred.fromCoroutine(wait_all([start(refused()), start(slow())]))
        slow.answer.callback("done")
        failure, done = self.successResultOf(d)
        assert isinstance(failure, Failure)
        self.assertTrue(failure.check(Rejected))
        self.assertEqual(done, "done")

    def test_at_once(self) -> None:
        """Where nobody must wait, the outcomes are there at once."""
        failure, quickly = self.successResultOf(
            Deferred.fromCoroutine(wait_all([start(refused()), start(quick())]))
        )
        assert isinstance(failure, Failure)
        self.assertTrue(failure.check(Rejected))
        self.assertEqual(quickly, "quick")

    def test_abandoned(self) -> None:
        """Nobody goes on when nobody waits."""
        slow = Slow()
        d = Deferred.fromCoroutine(wait_all([start(slow())]))
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.assertTrue(slow.cancelled)
