"""Many callers wait for one event, each with a Deferred of its own."""

from __future__ import annotations

from functools import partial

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency.waiters import Waiters
from authotron.model.errors import Unavailable


def _cancelling(_: object, other: Deferred[str]) -> None:
    other.cancel()


@define(eq=False)
class Noting(Waiters[str]):
    """Counts how often the last caller has stopped waiting."""

    abandoned: int = field(default=0, init=False)

    def _abandoned(self) -> None:
        self.abandoned += 1


class WaitersTests(SynchronousTestCase):
    """The callers that wait for one event."""

    def setUp(self) -> None:
        self.waiters = Noting()

    def test_all_callers_get_the_result(self) -> None:
        """Every caller that waits gets the result of the event."""
        waiting = [self.waiters.join() for _ in range(3)]
        self.waiters.succeed("done")
        self.assertEqual([self.successResultOf(each) for each in waiting], ["done"] * 3)
        self.assertEqual(len(self.waiters), 0)

    def test_all_callers_get_the_failure(self) -> None:
        """Every caller that waits gets the failure, as a C{Failure} that no other caller has."""
        waiting = [self.waiters.join() for _ in range(3)]
        self.waiters.fail(Unavailable("gone"))
        failures = [self.failureResultOf(each, Unavailable) for each in waiting]
        self.assertEqual(len({id(each) for each in failures}), 3)

    def test_cancelled_caller_leaves_alone(self) -> None:
        """A caller that cancels stops waiting; the other callers go on waiting."""
        first, second = self.waiters.join(), self.waiters.join()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual((len(self.waiters), self.waiters.abandoned), (1, 0))
        self.waiters.succeed("done")
        self.assertEqual(self.successResultOf(second), "done")

    def test_last_cancelled_caller_abandons_the_event(self) -> None:
        """If the last caller cancels, the subclass is called once."""
        for each in [self.waiters.join(), self.waiters.join()]:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.waiters.abandoned, 1)

    def test_cancelled_by_the_result_of_another_caller(self) -> None:
        """A caller may be cancelled by what an earlier caller does with the result or failure."""
        for fire in (partial(self.waiters.succeed, "done"), partial(self.waiters.fail, KeyError())):
            first, second = self.waiters.join(), self.waiters.join()
            first.addBoth(_cancelling, second)
            fire()
            self.failureResultOf(second, CancelledError)
        self.assertEqual(self.waiters.abandoned, 0)

    def test_caller_that_joins_during_an_event(self) -> None:
        """A caller that joins while the event fires waits for the next event."""
        later = []
        self.waiters.join().addCallback(lambda _: later.append(self.waiters.join()))
        self.waiters.succeed("first")
        self.assertNoResult(later[0])
        self.waiters.succeed("second")
        self.assertEqual(self.successResultOf(later[0]), "second")
