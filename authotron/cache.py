"""Memories within budgets of bytes, and questions that are asked once for all that wait."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Hashable, Iterable
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

from authotron.errors import Rejected, Unavailable
from authotron.identity import Addition, Identity
from authotron.racing import begin, waits

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]

DEFAULT_BYTES = 4 * 2**20
"""Bytes that a memory may take if its maker does not say."""

_MAX_ENTRIES = 10_000
_SHARE = 10
"""One subject may take this part of a memory: a tenth."""

_LEAST_SHARE = 16
"""Entries that one subject may have in the smallest memory."""

_ENTRY, _NAME = 500, 200
"""Bytes that an entry of a memory takes beside its value, and each further name of it."""

_MAX_NAMES = 4
"""Names of an entry; a further one takes the place of the oldest."""

_PLAIN_IDENTITY, _ATTRIBUTE = 500, 220
"""Bytes of an identity without its strings, and of an attribute without its letters."""

_TUPLE, _TEXT = 56, 57
"""Bytes of an empty tuple, and of an empty ASCII string with its place in a tuple."""

_PLACE = 8
"""Bytes of the place of a string in a tuple."""


class Entry:
    """
    What an L{LruCache} keeps under a key; what is kept is for subclasses to add.

    A memory has very many entries, so each is a single object.

    @ivar size: bytes that the entry takes, without what every entry takes.
    @ivar subject: to whose share it belongs; C{None} for no share.
    @ivar tags: by which it can be dropped.
    @ivar names: further names by which it is found.
    """

    __slots__ = ("key", "names", "size", "subject", "tags")

    def __init__(
        self, key: bytes, size: int, subject: Hashable = None, tags: tuple[str, ...] = ()
    ) -> None:
        self.key = key
        self.size = size
        self.subject = subject
        self.tags = tags
        self.names: list[bytes] | None = None


E = TypeVar("E", bound=Entry)


class _Share:
    """What one subject takes that has several entries: their keys, oldest first, and bytes."""

    __slots__ = ("keys", "size")

    def __init__(self, first: Entry) -> None:
        self.keys = [first.key]
        self.size = first.size


@define(eq=False)
class LruCache(Generic[E]):
    """
    Entries within a budget of bytes and a limit of their number; the least recently used give way.

    A subject has a share, a tenth of both. What it puts in beyond that takes the place of what it
    put in first, and never of what belongs to others. An entry larger than a share is not kept.

    @ivar size: bytes that all entries take.
    """

    _max_bytes: int
    _max_entries: int
    size: int = field(default=0, init=False)
    _max_share: int = field(init=False)
    _entries: OrderedDict[bytes, E] = field(factory=OrderedDict, init=False, repr=False)
    _named: dict[bytes, E] = field(factory=dict, init=False, repr=False)
    _shares: dict[Hashable, Entry | _Share] = field(factory=dict, init=False, repr=False)
    _tagged: dict[str, bytes | set[bytes]] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._max_share = self._max_bytes // _SHARE

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: bytes) -> E | None:
        """Return the entry of this key or further name; it was just used."""
        entry = self._entries.get(name) or self._named.get(name)
        if entry is not None:
            self._entries.move_to_end(entry.key)
        return entry

    def put(self, entry: E) -> None:
        """Keep an entry in the place of an earlier one with the same key and names."""
        key, entries, subject = entry.key, self._entries, entry.subject
        earlier = self.drop(key) if key in entries else None
        entry.size = size = entry.size + _ENTRY + (_NAME * len(entry.tags) if entry.tags else 0)
        if size > self._max_share:
            return
        entries[key] = entry
        self.size = total = self.size + size
        if entry.tags:
            self._tag(entry)
        if subject is not None and self._shares.setdefault(subject, entry) is not entry:
            self._add_to_share(entry)
        if earlier is not None:
            for name in earlier.names or ():
                self.alias(name, key)
        if total > self._max_bytes or len(entries) > self._max_entries:
            self._shrink()

    def alias(self, name: bytes, key: bytes) -> None:
        """Let the entry of a key be found by a further name; it has at most four."""
        entry = self._entries.get(key)
        if entry is None or name in self._named:
            return
        if entry.names is None:
            entry.names = []
        if len(entry.names) == _MAX_NAMES:
            del self._named[entry.names.pop(0)]
        else:
            self._grow(entry, _NAME)
        entry.names.append(name)
        self._named[name] = entry
        self._shrink()

    def drop(self, key: bytes) -> E | None:
        """Forget the entry of a key, if there is one, and return it."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._dropped(entry)
        return entry

    def _dropped(self, entry: E) -> None:
        self.size -= entry.size
        if entry.names:
            for name in entry.names:
                del self._named[name]
        if entry.tags:
            self._untag(entry)
        if entry.subject is not None:
            self._take_from_share(entry)

    def drop_tagged(self, tags: Iterable[str]) -> None:
        """Forget all entries that have one of these tags."""
        for tag in tags:
            keys = self._tagged.get(tag, ())
            for key in (keys,) if isinstance(keys, bytes) else tuple(keys):
                self.drop(key)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._named.clear()
        self._shares.clear()
        self._tagged.clear()
        self.size = 0

    def _tag(self, entry: E) -> None:
        """Most tags are those of one entry, and need no set."""
        for tag in entry.tags:
            keys = self._tagged.setdefault(tag, entry.key)
            if isinstance(keys, set):
                keys.add(entry.key)
            elif keys != entry.key:
                self._tagged[tag] = {keys, entry.key}

    def _untag(self, entry: E) -> None:
        for tag in entry.tags:
            keys = self._tagged[tag]
            if isinstance(keys, set) and len(keys) > 1:
                keys.discard(entry.key)
            else:
                del self._tagged[tag]

    def _grow(self, entry: E, more: int) -> None:
        entry.size += more
        self.size += more
        share = self._shares.get(entry.subject)
        if isinstance(share, _Share):
            share.size += more

    def _add_to_share(self, entry: E) -> None:
        """Count a further entry of a subject; the first one of it needs no account."""
        share = self._shares[entry.subject]
        if not isinstance(share, _Share):
            share = self._shares[entry.subject] = _Share(share)
        share.keys.append(entry.key)
        share.size += entry.size
        most = max(_LEAST_SHARE, self._max_entries // _SHARE)
        while share.size > self._max_share or len(share.keys) > most:
            self.drop(share.keys[0])

    def _take_from_share(self, entry: E) -> None:
        share = self._shares[entry.subject]
        if isinstance(share, _Share):
            share.keys.remove(entry.key)
            share.size -= entry.size
        if not isinstance(share, _Share) or not share.keys:
            del self._shares[entry.subject]

    def _shrink(self) -> None:
        while self.size > self._max_bytes or len(self._entries) > self._max_entries:
            self._dropped(self._entries.popitem(last=False)[1])


@define(eq=False)
class _Flight(Generic[T]):
    """Work under way, and who waits for it."""

    running: Deferred[None] | None = None
    waiting: list[Deferred[T]] = field(factory=list)


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

    async def join(self, key: Hashable, work: Work[T]) -> T:
        """
        The result of C{work}, or of what was begun under the same key and still goes on.

        Work that need not wait is done at once, and costs no Deferred.
        """
        flight = self._flights.get(key)
        if flight is not None:
            return await self._waiter(key, flight)
        begun = begin(work())
        if waits(begun):
            flight = self._flights[key] = _Flight()
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
        if not flight.waiting and not self._lasting and self._flights.get(key) is flight:
            del self._flights[key]  # no caller may join work whose result will not come
            if flight.running is not None:
                flight.running.cancel()


def identity_bytes(identity: Identity) -> int:
    """Bytes that an identity takes in memory, about; what it shares with others counts in full."""
    _, username, roles, attributes, scopes = identity[:5]
    texts = [username, *roles]
    size = _PLAIN_IDENTITY + _TEXT * len(roles)
    if attributes:
        texts += attributes
        texts += attributes.values()
        size += _ATTRIBUTE * len(attributes)
    joined = "".join(texts)  # as one string, since all that is remembered is measured
    size += len(joined)
    if not joined.isascii():
        size += texts_bytes(texts)
    if scopes:
        for service, each in scopes.items():
            size += _ATTRIBUTE + texts_bytes((service,), each)
    if identity.narrowing is not None:
        size += identity.narrowing.__sizeof__()
    elif identity.conditions:
        size += sum(map(getsizeof, identity.conditions))
    before = identity.bare
    if before is None:
        return size
    is_part = before.roles == roles[: len(before.roles)] and before.username == username
    is_part = is_part and before.scopes is scopes
    if is_part and (not before.attributes or before.attributes is attributes):
        return size + _PLAIN_IDENTITY + _PLACE * len(before.roles)  # and the same strings
    return size + identity_bytes(before)


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
