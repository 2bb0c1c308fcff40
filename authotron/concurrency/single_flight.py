"""Questions that are asked once for all that wait, and answers that are kept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import begin, waits
from authotron.model.errors import Rejected, Unavailable

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]


Stays = Callable[[Callable[[], None]], bool]
"""Says whether work without a caller goes on for now, and may cancel it later by its argument."""


@define(eq=False)
class _Flight(Generic[T]):
    """Work under way, and who waits for it."""

    running: Deferred[None] | None = None
    waiting: list[Deferred[T]] = field(factory=list)
    stays: Stays | None = None


@define(eq=False)
class Flights(Generic[T]):
    """
    Work that several callers want at once is done once; each gets the result, or the failure.

    If one caller is cancelled the others go on waiting. If the last one is, the work is cancelled,
    unless it is lasting: then it goes on for later callers.
    """

    _lasting: bool = False
    _flights: dict[Hashable, _Flight[T]] = field(factory=dict, init=False, repr=False)
    _log = Logger()

    async def join(self, key: Hashable, work: Work[T], stays: Stays | None = None) -> T:
        """
        The result of C{work}, or of what was begun under the same key and still goes on.

        Work that need not wait is done at once, and costs no Deferred.

        @param stays: asked when the last caller has left: whether the work goes on for now. It
            is given what cancels the work later, unless the work has ended or has a caller again.
        """
        flight = self._flights.get(key)
        if flight is not None:
            return await self._waiter(key, flight)
        begun = begin(work())
        if waits(begun):
            flight = self._flights[key] = _Flight(stays=stays)
            waiter = self._waiter(key, flight)
            flight.running = begun.addCallbacks(
                self._landed, self._crashed, callbackArgs=(key, flight), errbackArgs=(key, flight)
            )
            return await waiter
        if isinstance(begun, Failure):
            begun.raiseException()
        return begun

    def _waiter(self, key: Hashable, flight: _Flight[T]) -> Deferred[T]:
        waiter: Deferred[T] = Deferred(lambda waiter: self._leave(key, flight, waiter))
        flight.waiting.append(waiter)
        return waiter

    def _landed(self, result: T, key: Hashable, flight: _Flight[T]) -> None:
        for waiter in self._emptied(key, flight):
            if not waiter.called:  # one may leave because of what another got
                waiter.callback(result)

    def _crashed(self, failure: Failure, key: Hashable, flight: _Flight[T]) -> None:
        waiting = self._emptied(key, flight)
        for waiter in waiting:
            if not waiter.called:
                waiter.errback(Failure(failure.value))
        if not waiting and self._lasting and not failure.check(Rejected, Unavailable):
            self._log.failure(
                "work that no caller waits for failed", failure, event="cache.flight.failed"
            )

    def _emptied(self, key: Hashable, flight: _Flight[T]) -> list[Deferred[T]]:
        if self._flights.get(key) is flight:
            del self._flights[key]
        waiting, flight.waiting = flight.waiting, []
        return waiting

    def _leave(self, key: Hashable, flight: _Flight[T], waiter: Deferred[T]) -> None:
        if waiter in flight.waiting:
            flight.waiting.remove(waiter)
        if not (flight.waiting or self._lasting):
            cancel = partial(self._cancel, key, flight)
            if flight.stays is None or not flight.stays(cancel):
                cancel()

    def _cancel(self, key: Hashable, flight: _Flight[T]) -> None:
        if not flight.waiting and self._flights.get(key) is flight:
            del self._flights[key]  # no caller may join work whose result will not come
            if flight.running is not None:
                flight.running.cancel()
