"""A cache of what remotes answered, in which each answer says how long it may be used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from hashlib import blake2b
from operator import attrgetter
from os import urandom
from sys import getsizeof
from typing import Generic, Protocol, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.racing import AsyncCall
from authotron.concurrency.single_flight import SingleFlight
from authotron.limits.lru_cache import DEFAULT_BYTES, Entry, LruCache
from authotron.model.authentication import Authentication
from authotron.model.identity import Addition, Identity

_PLAIN_IDENTITY, _ATTRIBUTE = 500, 220
"""Estimated bytes of an identity without its strings, and of an attribute without its text."""


_TUPLE, _TEXT = 56, 57
"""Bytes of an empty tuple, and of an empty ASCII string with its reference in a tuple."""


_MAX_ENTRIES = 10_000
"""Maximum number of answers in a cache."""


_PLACE = 8
"""Bytes of the reference to a string in a tuple."""


def authentication_bytes(found: Authentication) -> int:
    """Estimate the bytes of an authentication in memory; shared objects count in full."""
    identity, before, restriction = found.identity, found.unaugmented, found.restriction
    size = _identity_bytes(identity)
    if restriction is not None:
        size += restriction.__sizeof__()
    elif found.conditions:
        size += sum(map(getsizeof, found.conditions))
    return size if before is None else size + _unaugmented_bytes(before, identity)


def _identity_bytes(identity: Identity) -> int:
    """Estimate the bytes of an identity in memory, with the authentication that holds it."""
    _, username, roles, attributes, scopes = identity
    joined = username + "".join(roles)  # one string, to be quick: every answer is measured
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
    return size


def _unaugmented_bytes(before: Identity, identity: Identity) -> int:
    """Estimate the bytes of the unaugmented identity, without strings that both share."""
    roles, attributes = before.roles, before.attributes
    if (
        roles == identity.roles[: len(roles)]
        and (not attributes or attributes is identity.attributes)
        and before.scopes is identity.scopes
    ):
        return _PLAIN_IDENTITY + _PLACE * len(roles)
    return _identity_bytes(before)


def addition_bytes(addition: Addition) -> int:
    """Estimate the bytes of an addition in memory."""
    attributes = addition.attributes
    size = _PLAIN_IDENTITY + texts_bytes(addition.roles)
    return size + _ATTRIBUTE * len(attributes) + texts_bytes(attributes, attributes.values())


def texts_bytes(*collections: Collection[str]) -> int:
    """Return the bytes of strings in memory, with their references in a tuple."""
    size = 0
    for texts in collections:
        joined = "".join(texts)
        if joined.isascii():
            size += len(joined) + _TEXT * len(texts)
        else:
            size += sum(map(getsizeof, texts)) + _TEXT * len(texts)
    return size + _TUPLE * len(collections)


class _Fresh(Protocol):
    """An answer with the time until which it may be used."""

    @property
    def fresh_until(self) -> float | None: ...


F = TypeVar("F", bound=_Fresh)


class _Answer(Entry, Generic[F]):
    """An answer in the cache."""

    __slots__ = ("value",)

    def __init__(self, key: bytes, value: F, size: int, subject: Hashable) -> None:
        super().__init__(key, size, subject)
        self.value = value


@define(eq=False)
class LookupCache(Generic[F]):
    """
    A cache of lookups, with one lookup at a time for each key; an answer has a C{fresh_until}.

    Failures are not cached: the decision cache remembers refusals, and after an outage the remote
    is asked again. Keys are stored as keyed hashes, so that no credential stays in memory. The
    cache has a budget of bytes, of which each subject has a share; see L{LruCache}.

    @param size: returns the bytes of an answer.
    @param stale: seconds after C{fresh_until} for which L{stale_answer} returns an answer.
    @param subject: returns the subject of an answer, in whose share of the budget it is stored.
    """

    _clock: IReactorTime
    _max_bytes: int
    _size: Callable[[F], int]
    _stale: float = 0.0
    _subject: Callable[[F], Hashable] | None = None
    _key: bytes = field(factory=lambda: urandom(32), init=False, repr=False)
    _known: LruCache[_Answer[F]] = field(init=False, repr=False)
    _flights: SingleFlight[F] = field(factory=SingleFlight, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._known = LruCache(self._max_bytes, _MAX_ENTRIES)

    async def get(self, question: str, look_up: AsyncCall[F], subject: Hashable = None) -> F:
        """
        Return the cached answer if it is fresh, else the result of C{look_up}.

        @param subject: the subject of the answer, for a cache that has no function C{subject}.
        """
        key = self._hashed(question)
        known = self._known.get(key)
        if known is not None and _is_fresh(known.value, self._clock.seconds()):
            return known.value
        return await self._flights.result(key, lambda: self._look_up(key, look_up, subject))

    def stale_answer(self, question: str) -> F | None:
        """Return the last answer if it is fresh, or stale for no longer than C{stale} seconds."""
        known = self._known.get(self._hashed(question))
        if known is not None and _is_fresh(known.value, self._clock.seconds() - self._stale):
            return known.value
        return None

    def forget(self, question: str) -> None:
        """Remove an answer from the cache."""
        self._known.drop(self._hashed(question))

    @property
    def size(self) -> int:
        """The bytes of all answers in the cache."""
        return self._known.size

    async def _look_up(self, key: bytes, look_up: AsyncCall[F], subject: Hashable) -> F:
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


class AuthenticationCache(LookupCache[Authentication]):
    """A cache of authentications by credential; each user has a share of its budget."""

    def __init__(self, clock: IReactorTime, max_bytes: int = DEFAULT_BYTES) -> None:
        super().__init__(
            clock, max_bytes, authentication_bytes, subject=attrgetter("identity.username")
        )
