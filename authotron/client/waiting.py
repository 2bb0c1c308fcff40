"""
Wait for shared work in a thread, in a coroutine of asyncio, or for a Deferred of Twisted.

Code that waits is written only once, as a coroutine; the function that does the waiting is passed
to the coroutine as an argument. L{blocking} never suspends, so L{run} gets the result of such a
coroutine without an event loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Coroutine, Hashable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from authotron.client.errors import Unavailable
from authotron.client.flights import Flights, Work

if TYPE_CHECKING:  # Twisted is optional: services without it have no Deferred.
    from twisted.internet.defer import Deferred

T = TypeVar("T")


class Wait(Protocol):
    """A function that waits for the result of work that several callers share."""

    def __call__(
        self, flights: Flights[T], key: Hashable, work: Work[T], seconds: float
    ) -> Awaitable[T]:
        """
        Return the result of the shared work.

        @raise Unavailable: the work did not end in time.
        """


async def blocking(flights: Flights[T], key: Hashable, work: Work[T], seconds: float) -> T:
    """Do the work in the calling thread, or block until another thread has done it."""
    try:
        return flights.result(key, work, seconds)
    except concurrent.futures.TimeoutError:
        raise _late() from None


async def in_asyncio(flights: Flights[T], key: Hashable, work: Work[T], seconds: float) -> T:
    """Do the work in another thread, and let the event loop go on meanwhile."""
    flight = asyncio.wrap_future(flights.start(key, work))
    try:
        return await asyncio.wait_for(flight, seconds)
    except (asyncio.TimeoutError, concurrent.futures.TimeoutError):
        raise _late() from None


async def in_twisted(flights: Flights[T], key: Hashable, work: Work[T], seconds: float) -> T:
    """Do the work in another thread, and let the reactor go on meanwhile."""
    from twisted.internet import defer, reactor  # noqa: PLC0415, TID251 - Twisted is optional

    waiting: defer.Deferred[concurrent.futures.Future[T]] = defer.Deferred()

    def fire(future: concurrent.futures.Future[T]) -> None:
        if not waiting.called:
            waiting.callback(future)

    clock: Any = reactor  # The type stubs of Twisted declare the reactor as a module.
    future = flights.start(key, work)
    future.add_done_callback(lambda done: clock.callFromThread(fire, done))
    waiting.addTimeout(seconds, clock)
    try:
        return (await waiting).result()
    except defer.TimeoutError:
        raise _late() from None


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """
    Return the result of a coroutine that waits only with L{blocking}, which blocks the thread, so
    that the coroutine never suspends.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine that must not suspend has suspended")


def deferred(coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Return a Deferred that fires with the result of a coroutine."""
    from twisted.internet.defer import Deferred  # noqa: PLC0415 - Twisted is optional

    return Deferred.fromCoroutine(coroutine)


def _late() -> Unavailable:
    return Unavailable("the gateway did not answer in time")
