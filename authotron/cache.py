"""What was found out is kept for a while, and found out once however many want to know."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from hashlib import blake2b
from os import urandom
from typing import Any, Generic, TypeVar

from attrs import define, field
from cachetools import TLRUCache
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.errors import Rejected, Unavailable
from authotron.identity import Identity

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]

_SIZE = 10_000


@define(eq=False)
class _Flight(Generic[T]):
    """Work under way, and who waits for it."""

    running: Deferred[None] | None = None
    waiting: list[Deferred[T]] = field(factory=list)


@define(eq=False)
class Flights(Generic[T]):
    """
    Work that several want at once is done once; each gets the result, or the failure.

    One who leaves disturbs nobody. When the last has left the work is cancelled, unless it is
    lasting: then it goes on for those to come.
    """

    _lasting: bool = False
    _flights: dict[Hashable, _Flight[T]] = field(factory=dict, init=False, repr=False)
    _log = Logger()

    async def join(self, key: Hashable, work: Work[T]) -> T:
        """The result of C{work}, or of what was begun under the same key and still goes on."""
        known = self._flights.get(key)
        flight: _Flight[T] = known or _Flight()
        waiter: Deferred[T] = Deferred(lambda waiter: self._leave(key, flight, waiter))
        flight.waiting.append(waiter)
        if known is None:
            self._flights[key] = flight
            flight.running = Deferred.fromCoroutine(work()).addCallbacks(
                self._landed, self._crashed, callbackArgs=(key, flight), errbackArgs=(key, flight)
            )
        return await waiter

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
            self._log.failure("what nobody waits for failed", failure, event="cache.flight.failed")

    def _emptied(self, key: Hashable, flight: _Flight[T]) -> list[Deferred[T]]:
        if self._flights.get(key) is flight:
            del self._flights[key]
        waiting, flight.waiting = flight.waiting, []
        return waiting

    def _leave(self, key: Hashable, flight: _Flight[T], waiter: Deferred[T]) -> None:
        if waiter in flight.waiting:
            flight.waiting.remove(waiter)
        if not flight.waiting and not self._lasting and self._flights.get(key) is flight:
            del self._flights[key]  # nobody may join work whose result will not come
            if flight.running is not None:
                flight.running.cancel()


@define(eq=False)
class Identities:
    """
    Identities by the credentials that proved them, each until it says itself.

    Only what was accepted is kept: refusals are remembered with the verdicts, outages never. Keys
    are keyed hashes, so that no credential is kept.
    """

    _clock: IReactorTime
    _key: bytes = field(factory=lambda: urandom(32), init=False, repr=False)
    _known: TLRUCache[bytes, Identity] = field(init=False, repr=False)
    _flights: Flights[Identity] = field(factory=Flights, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._known = TLRUCache(_SIZE, _until, self._clock.seconds)

    async def get(self, credential: str, find_out: Work[Identity]) -> Identity:
        """What is known about a credential, or what C{find_out} says."""
        key = self._hashed(credential)
        known = self._known.get(key)
        if known is not None:
            return known
        return await self._flights.join(key, lambda: self._find_out(key, find_out))

    async def _find_out(self, key: bytes, find_out: Work[Identity]) -> Identity:
        identity = await find_out()
        self._known[key] = identity
        return identity

    def forget(self, credential: str) -> None:
        """It is not believed any more."""
        self._known.pop(self._hashed(credential), None)

    def _hashed(self, credential: str) -> bytes:
        return blake2b(credential.encode(), key=self._key, digest_size=16).digest()


def _until(_key: bytes, identity: Identity, now: float) -> float:
    return now if identity.fresh_until is None else identity.fresh_until
