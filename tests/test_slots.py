"""A limit of what is under way at once."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.errors import Unavailable
from authotron.slots import Slots


class SlotsTests(SynchronousTestCase):
    """So many at once, the others in order."""

    def setUp(self) -> None:
        self.slots = Slots(2)

    def acquire(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.slots.acquire())

    def test_limited_T85a(self) -> None:
        """A third one waits until a slot is released, and waiters get theirs in order."""
        for each in (self.acquire(), self.acquire()):
            self.successResultOf(each)
        third, fourth = self.acquire(), self.acquire()
        self.assertFalse(self.slots.take())
        self.assertNoResult(third)
        self.slots.release()
        self.successResultOf(third)
        self.assertNoResult(fourth)
        self.slots.release()
        self.successResultOf(fourth)
        self.slots.release()
        self.slots.release()
        self.assertTrue(self.slots.take())

    def test_left_T85a(self) -> None:
        """A waiter that leaves takes no slot, nor one away from another."""
        for each in (self.acquire(), self.acquire()):
            self.successResultOf(each)
        leaver, waiting = self.acquire(), self.acquire()
        leaver.cancel()
        self.failureResultOf(leaver, CancelledError)
        self.slots.release()
        self.successResultOf(waiting)
        self.slots.release()
        self.slots.release()
        self.assertTrue(self.slots.take() and self.slots.take())
        self.assertFalse(self.slots.take())

    def test_too_many_wait_T85a(self) -> None:
        """The queue has an end, above which an outage is told at once."""
        waiting = [self.acquire() for _ in range(2 + 64)]
        self.failureResultOf(self.acquire(), Unavailable)
        waiting[-1].addErrback(lambda _: None)
        waiting[-1].cancel()
        self.assertNoResult(self.acquire())

    def test_no_recursion_T85a(self) -> None:
        """Very many that give their slot back at once do not call each other."""
        slots = Slots(100)
        for _ in range(100):
            slots.take()

        async def briefly() -> None:
            await slots.acquire()
            slots.release()

        waiting = [Deferred.fromCoroutine(briefly()) for _ in range(3200)]
        slots.release()
        for each in waiting:
            self.successResultOf(each)
