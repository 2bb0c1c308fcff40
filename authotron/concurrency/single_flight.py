"""Single flight: work that several callers want at the same time is done once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import AsyncCall, Started, is_pending, result_of, start
from authotron.concurrency.waiters import Waiters
from authotron.model.errors import Rejected, Unavailable

T = TypeVar("T")

Linger = Callable[[Callable[[], None]], bool]
"""
Decides whether work goes on after its last caller has left.

A C{Linger} is called with a function that cancels the work; this function does nothing if the work
has ended or a new caller has joined.
"""


@define(eq=False)
class Flight(Waiters[T]):
    """One piece of work under way, and the callers that wait for its outcome."""

    _flights: SingleFlight[T]
    key: Hashable
    work: Deferred[T]
    linger: Linger | None = None
    recover: Callable[[Failure], T] | None = None
    is_cancelled: bool = field(default=False, init=False)

    def _abandoned(self) -> None:
        self._flights.abandon(self)


@define(eq=False)
class SingleFlight(Generic[T]):
    """
    Do work once for all callers that ask for the same key while the work is under way.

    Each caller gets the result, or the failure, of the shared work. If one caller is cancelled, the
    others go on waiting. If the last caller is cancelled, the work is cancelled as well, unless
    C{outlives_callers} is set: then the work goes on for later callers.

    @ivar running: the work under way, by key. Work that is removed from C{running} goes on for the
        callers that wait for it; a later call with the same key starts new work.
    """

    _outlives_callers: bool = False
    running: dict[Hashable, Flight[T]] = field(factory=dict, init=False, repr=False)
    _log = Logger()

    def join(self, key: Hashable, work: AsyncCall[T], linger: Linger | None = None) -> Started[T]:
        """
        Start C{work}, or join the work that is already under way for C{key}.

        Work that does not have to wait is done at once: its result or failure is returned directly,
        and no Deferred is created.

        @param linger: decides whether the work goes on after its last caller has left; if no
            function is given, the work is cancelled.
        """
        flight = self.running.get(key)
        if flight is not None:
            return flight.join()
        started = start(work())
        return self.share(key, started, linger) if is_pending(started) else started

    async def result(self, key: Hashable, work: AsyncCall[T], linger: Linger | None = None) -> T:
        """Start C{work}, or join it if it is under way already, and wait for its result."""
        return await result_of(self.join(key, work, linger))

    def share(
        self,
        key: Hashable,
        work: Deferred[T],
        linger: Linger | None = None,
        recover: Callable[[Failure], T] | None = None,
    ) -> Deferred[T]:
        """
        Register work that has started under C{key}, so that later callers with this key share it.

        Return the Deferred of the caller that started the work.

        @param recover: a function that turns a failure of the work into a result, which the callers
            get instead of the failure. A failure of work that was cancelled because its last caller
            had left is ignored.
        """
        flight = self.running[key] = Flight(self, key, work, linger, recover)
        waiter = flight.join()
        work.addCallbacks(
            self._succeeded, self._failed, callbackArgs=(flight,), errbackArgs=(flight,)
        )
        return waiter

    def abandon(self, flight: Flight[T]) -> None:
        """
        Cancel the work when its last caller has left, unless it was decided that the work goes on
        without callers.
        """
        if not self._outlives_callers:
            cancel = partial(self._cancel, flight)
            if flight.linger is None or not flight.linger(cancel):
                cancel()

    def _cancel(self, flight: Flight[T]) -> None:
        if not len(flight):
            self._remove(flight)  # a later caller must not join work whose result will not come
            flight.is_cancelled = True
            flight.work.cancel()

    def _succeeded(self, result: T, flight: Flight[T]) -> None:
        self._remove(flight)
        flight.succeed(result)

    def _failed(self, failure: Failure, flight: Flight[T]) -> None:
        self._remove(flight)
        if flight.is_cancelled:
            return
        if flight.recover is not None:
            flight.succeed(flight.recover(failure))
        elif len(flight):
            flight.fail(failure)
        elif not failure.check(Rejected, Unavailable):
            self._log.failure(
                "shared work failed, and no caller waits for it",
                failure,
                event="cache.flight.failed",
            )

    def _remove(self, flight: Flight[T]) -> None:
        if self.running.get(flight.key) is flight:
            del self.running[flight.key]
