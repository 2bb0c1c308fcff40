"""Questions that are asked once for all that wait, and answers that are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Hashable
from functools import partial
from hashlib import blake2b
from operator import attrgetter
from os import urandom
from sys import getsizeof
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import begin, waits
from authotron.limits.lru_cache import Entry, LruCache
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Addition, Identity

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]

DEFAULT_BYTES = 4 * 2**20
"""Bytes that a memory may take if its maker does not say."""

_MAX_ENTRIES = 10_000
"""Entries that a memory of answers may have."""

_PLAIN_IDENTITY, _ATTRIBUTE = 500, 220
"""Bytes of an identity without its strings, and of an attribute without its letters."""

_TUPLE, _TEXT = 56, 57
"""Bytes of an empty tuple, and of an empty ASCII string with its place in a tuple."""

_PLACE = 8
"""Bytes of the place of a string in a tuple."""


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


def identity_bytes(identity: Identity) -> int:
    """Bytes that an identity takes in memory, about; what it shares with others counts in full."""
    _, username, roles, attributes, scopes, _, _, conditions, narrowing, _, before = identity
    joined = username + "".join(roles)  # as one string, since all that is remembered is measured
    size = _PLAIN_IDENTITY + len(joined) + _TEXT * len(roles)
    if not joined.isascii():
        size += texts_bytes((username,), roles)
    if attributes:
        joined = "".join([*attributes, *attributes.values()])
        size += _ATTRIBUTE * len(attributes) + len(joined)
        if not joined.isascii():
            size += texts_bytes(attributes, attributes.values())
    if scopes:
        for service, each in scopes.items():
            size += _ATTRIBUTE + texts_bytes((service,), each)
    if narrowing is not None:
        size += narrowing.__sizeof__()
    elif conditions:
        size += sum(map(getsizeof, conditions))
    return size if before is None else size + _bare_bytes(before, identity)


def _bare_bytes(before: Identity, identity: Identity) -> int:
    """What an identity takes as it was before, if its strings are not all those of the other."""
    roles, attributes = before.roles, before.attributes
    if (
        roles == identity.roles[: len(roles)]
        and (not attributes or attributes is identity.attributes)
        and before.scopes is identity.scopes
    ):
        return _PLAIN_IDENTITY + _PLACE * len(roles)
    return identity_bytes(before)


def addition_bytes(addition: Addition) -> int:
    """Bytes that an addition takes in memory, about."""
    attributes = addition.attributes
    size = _PLAIN_IDENTITY + texts_bytes(addition.roles)
    return size + _ATTRIBUTE * len(attributes) + texts_bytes(attributes, attributes.values())


def texts_bytes(*collections: Collection[str]) -> int:
    """Bytes that strings take in memory, with their places in a tuple."""
    size = 0
    for texts in collections:
        joined = "".join(texts)
        if joined.isascii():
            size += len(joined) + _TEXT * len(texts)
        else:
            size += sum(map(getsizeof, texts)) + _TEXT * len(texts)
    return size + _TUPLE * len(collections)


class _Fresh(Protocol):
    """An answer that says until when it may be believed."""

    @property
    def fresh_until(self) -> float | None: ...


F = TypeVar("F", bound=_Fresh)


class _Answer(Entry, Generic[F]):
    """An answer that is kept."""

    __slots__ = ("value",)

    def __init__(self, key: bytes, value: F, size: int, subject: Hashable) -> None:
        super().__init__(key, size, subject)
        self.value = value


@define(eq=False)
class LookupCache(Generic[F]):
    """
    What was looked up, each until it says itself; one question at a time for each key.

    Only answers are kept: refusals are remembered with the verdicts, outages never. Keys are keyed
    hashes, so that no credential is kept. The memory has a budget of bytes and a share for each
    subject, see L{LruCache}.

    @param size: bytes that an answer takes.
    @param stale: seconds for which an answer is kept that is not fresh any more; see L{kept}.
    @param subject: says of an answer in whose share of the memory it is kept.
    """

    _clock: IReactorTime
    _max_bytes: int
    _size: Callable[[F], int]
    _stale: float = 0.0
    _subject: Callable[[F], Hashable] | None = None
    _key: bytes = field(factory=lambda: urandom(32), init=False, repr=False)
    _known: LruCache[_Answer[F]] = field(init=False, repr=False)
    _flights: Flights[F] = field(factory=Flights, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._known = LruCache(self._max_bytes, _MAX_ENTRIES)

    async def get(self, question: str, look_up: Work[F], subject: Hashable = None) -> F:
        """
        Return what is known, or what C{look_up} says.

        @param subject: in whose share of the memory the answer is kept, if it does not say itself.
        """
        key = self._hashed(question)
        known = self._known.get(key)
        if known is not None and _is_fresh(known.value, self._clock.seconds()):
            return known.value
        return await self._flights.join(key, lambda: self._look_up(key, look_up, subject))

    def kept(self, question: str) -> F | None:
        """The last answer, if it has not been stale for too long."""
        known = self._known.get(self._hashed(question))
        if known is not None and _is_fresh(known.value, self._clock.seconds() - self._stale):
            return known.value
        return None

    def forget(self, question: str) -> None:
        """Drop an answer, because it is not believed any more."""
        self._known.drop(self._hashed(question))

    @property
    def size(self) -> int:
        """Bytes that all answers take."""
        return self._known.size

    async def _look_up(self, key: bytes, look_up: Work[F], subject: Hashable) -> F:
        answer = await look_up()
        if _is_fresh(answer, self._clock.seconds() - self._stale):
            whose = subject if self._subject is None else self._subject(answer)
            self._known.put(_Answer(key, answer, self._size(answer), whose))
        return answer

    def _hashed(self, question: str) -> bytes:
        raw = question.encode("utf-8", "surrogatepass")
        return blake2b(raw, key=self._key, digest_size=16).digest()


def _is_fresh(answer: _Fresh, now: float) -> bool:
    return answer.fresh_until is not None and now < answer.fresh_until


class Identities(LookupCache[Identity]):
    """Identities by the credentials that proved them; each user has a share."""

    def __init__(self, clock: IReactorTime, max_bytes: int = DEFAULT_BYTES) -> None:
        super().__init__(clock, max_bytes, identity_bytes, subject=attrgetter("username"))
