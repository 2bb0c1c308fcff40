"""Work that several callers want at the same time is done once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency.single_flight import SingleFlight
from authotron.model.errors import Rejected, Unavailable
from authotron.testing.remotes import Work, start


class SingleFlightCase(SynchronousTestCase):
    """Work, and the single flight that starts it."""

    def setUp(self) -> None:
        self.work = Work()
        self.flights: SingleFlight[Any] = SingleFlight()

    def join(self, key: str = "a") -> Deferred[Any]:
        return start(self.flights.result(key, self.work))

    def cancel(self, *waiters: Deferred[Any]) -> None:
        for waiter in waiters:
            waiter.cancel()
            self.failureResultOf(waiter, CancelledError)


class SingleFlightTests(SingleFlightCase):
    """Callers that want the same work at the same time."""

    def test_work_is_done_once(self) -> None:
        """Work is started once, and every caller gets its result."""
        waiting = [self.join() for _ in range(500)]
        self.work.started[0].callback("done")
        self.assertEqual({self.successResultOf(each) for each in waiting}, {"done"})
        self.assertEqual((len(self.work.started), self.flights.running), (1, {}))

    def test_keys_do_not_mix_T45(self) -> None:
        """Each key has work of its own; results are never given to callers of another key."""
        waiting = {str(number): self.join(str(number)) for number in range(500)}
        for number, started in enumerate(self.work.started):
            started.callback(str(number))
        for key, deferred in waiting.items():
            self.assertEqual(self.successResultOf(deferred), key)

    def test_failure_reaches_every_caller(self) -> None:
        """Every caller gets the failure; the next caller starts the work anew."""
        waiting = [self.join(), self.join()]
        self.work.started[0].errback(Unavailable())
        for each in waiting:
            self.failureResultOf(each, Unavailable)
        self.assertNoResult(self.join())
        self.assertEqual(len(self.work.started), 2)

    def test_one_cancelled_caller_T45(self) -> None:
        """If one caller is cancelled, the others still get the result."""
        first, second = self.join(), self.join()
        self.cancel(first)
        self.work.started[0].callback("done")
        self.assertEqual(self.successResultOf(second), "done")

    def test_all_callers_cancelled(self) -> None:
        """If the last caller is cancelled, the work is cancelled; a later caller starts it anew."""
        self.cancel(self.join(), self.join())
        self.assertEqual(self.work.cancelled, 1)
        self.assertNoResult(self.join())
        self.assertEqual(len(self.work.started), 2)

    def test_removed_work_goes_on_for_its_callers(self) -> None:
        """Work that is removed from the table serves its callers; a later caller starts anew."""
        first = self.join()
        self.flights.running.clear()
        second = self.join()
        self.work.started[0].callback("old")
        self.assertEqual(self.successResultOf(first), "old")
        self.assertNoResult(second)
        self.work.started[1].callback("new")
        self.assertEqual(self.successResultOf(second), "new")

    def test_removed_work_is_cancelled_with_its_last_caller(self) -> None:
        """Work that is removed from the table is cancelled if its last caller is."""
        first = self.join()
        self.flights.running.clear()
        second = self.join()
        self.cancel(first)
        self.assertEqual(self.work.cancelled, 1)
        self.work.started[1].callback("new")
        self.assertEqual(self.successResultOf(second), "new")


class AtOnceTests(SingleFlightCase):
    """Work that need not wait."""

    def test_result_without_waiting(self) -> None:
        """The result of work that need not wait is returned itself, without a Deferred."""

        async def work() -> str:
            return "done"

        self.assertEqual(self.flights.join("a", work), "done")
        self.assertEqual(self.flights.running, {})

    def test_failure_without_waiting(self) -> None:
        """The failure of work that need not wait is returned, and raised to callers that await."""

        async def work() -> str:
            raise Rejected

        self.assertIsInstance(self.flights.join("a", work), Failure)
        self.failureResultOf(start(self.flights.result("a", work)), Rejected)


class WithoutCallersTests(SingleFlightCase):
    """Work whose callers have all left."""

    def test_work_outlives_its_callers(self) -> None:
        """Work that outlives its callers is not cancelled: a later caller gets its result."""
        self.flights = SingleFlight(outlives_callers=True)
        self.cancel(self.join())
        second = self.join()
        self.work.started[0].callback("done")
        self.assertEqual((self.successResultOf(second), self.work.cancelled), ("done", 0))

    def test_defect_without_callers_is_logged(self) -> None:
        """Work without callers that fails is logged, unless it was rejected or unavailable."""
        self.flights = SingleFlight(outlives_callers=True)
        for error, logged in ((Unavailable(), 0), (Rejected(), 0), (ZeroDivisionError(), 1)):
            self.cancel(self.join())
            self.work.started[-1].errback(error)
            self.assertEqual(len(self.flushLoggedErrors()), logged)

    def linger(self) -> Callable[[], None]:
        """Start work that lingers, cancel its caller, and return what cancels the work."""
        kept: list[Callable[[], None]] = []

        def linger(cancel: Callable[[], None]) -> bool:
            kept.append(cancel)
            return True

        self.cancel(start(self.flights.result("a", self.work, linger)))
        return kept[0]

    def test_lingering_work_is_cancelled_later(self) -> None:
        """Work that lingers goes on without a caller until it is cancelled."""
        cancel = self.linger()
        self.assertEqual(self.work.cancelled, 0)
        cancel()
        self.assertEqual((self.work.cancelled, self.flights.running), (1, {}))

    def test_lingering_work_gets_a_caller_again(self) -> None:
        """Work that lingers is not cancelled if it has a caller again."""
        cancel = self.linger()
        second = self.join()
        cancel()
        self.work.started[0].callback("done")
        self.assertEqual((self.successResultOf(second), self.work.cancelled), ("done", 0))


class ShareTests(SingleFlightCase):
    """Work that was started elsewhere, whose failure becomes a result."""

    def share(self) -> tuple[Deferred[str], Deferred[str]]:
        """Share work; return the work, and the Deferred of its first caller."""
        work: Deferred[str] = Deferred()
        self.failures: list[Failure] = []
        return work, self.flights.share("a", work, recover=self.recover)

    def recover(self, failure: Failure) -> str:
        self.failures.append(failure)
        return "recovered"

    def test_failure_becomes_a_result(self) -> None:
        """A failure is turned into one result for all callers."""
        work, first = self.share()
        second = self.flights.running["a"].join()
        work.errback(ZeroDivisionError())
        self.assertEqual(
            [self.successResultOf(each) for each in (first, second)], ["recovered"] * 2
        )
        self.assertEqual(len(self.failures), 1)

    def test_cancelled_work_is_not_recovered(self) -> None:
        """The end of work that was cancelled because its callers left is not a failure."""
        _, first = self.share()
        self.cancel(first)
        self.assertEqual(self.failures, [])
