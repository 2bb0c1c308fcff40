"""Let many callers wait for one event: one list of Deferreds, with one rule for cancelling."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


@define(eq=False)
class Waiters(Generic[T]):
    """
    The callers that wait for one event, each with a Deferred of its own.

    A caller that cancels its Deferred stops waiting; the other callers go on waiting. A caller that
    joins while the Deferreds of an event are being fired waits for the next event.
    """

    _waiting: dict[Deferred[T], None] = field(factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self) -> Deferred[T]:
        """Add a caller; its Deferred fires with the outcome of the event."""
        waiter: Deferred[T] = Deferred(self._leave)
        self._waiting[waiter] = None
        return waiter

    def succeed(self, result: T) -> None:
        """Give C{result} to every caller that waits for the event."""
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            # While it handles the result, one caller may cause another caller to cancel its
            # Deferred.
            if not waiter.called:
                waiter.callback(result)

    def fail(self, reason: Failure | BaseException) -> None:
        """Fail every waiting caller with the given error, each with a C{Failure} of its own."""
        error = reason.value if isinstance(reason, Failure) else reason
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            if not waiter.called:
                waiter.errback(Failure(error))

    def _leave(self, waiter: Deferred[T]) -> None:
        if waiter in self._waiting:
            del self._waiting[waiter]
            if not self._waiting:
                self._abandoned()

    def _abandoned(self) -> None:
        """Do nothing when the last caller stops waiting; subclasses override this method."""
