"""A cache for answers of remote services, each of which has a time until which it may be used."""

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
"""
Estimated bytes in memory of an identity without its strings, and of an attribute without name and
value.
"""


_LOGIN = 80
"""Number of bytes of memory that the facts about a user's login take, without the string C{acr}."""

_TUPLE, _TEXT = 56, 57
"""Number of bytes in memory of an empty tuple, and of an empty ASCII string and its tuple slot."""


_MAX_ENTRIES = 10_000
"""Maximum number of answers in a cache."""


_BINDING = 700
"""Number of bytes of the binding of a token, with the conditions that result from it."""

_PLACE = 8
"""Number of bytes of the reference to a string in a tuple."""


def authentication_bytes(found: Authentication) -> int:
    """
    Estimate how many bytes an authentication takes up in memory; objects that it shares with others
    count in full.
    """
    identity, before, restriction = found.identity, found.unaugmented, found.restriction
    size = _identity_bytes(identity)
    if restriction is not None:
        size += restriction.__sizeof__()
    elif found.conditions:
        size += sum(map(getsizeof, found.conditions))
    if found.token is not None and found.token.binding is not None:
        size += _BINDING
    if found.login is not None:
        size += _LOGIN + getsizeof(found.login.acr)
    if found.unrestricted is not None:
        size += _unaugmented_bytes(found.unrestricted, identity)
    return size if before is None else size + _unaugmented_bytes(before, identity)


def _identity_bytes(identity: Identity) -> int:
    """
    Estimate how many bytes an identity takes up in memory, with the authentication that contains
    it.
    """
    _, username, roles, attributes, scopes = identity
    # Estimating the size of one joined string is faster than estimating the sizes of several
    # strings.
    joined = username + "".join(roles)
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
    """
    Estimate how many bytes an identity takes up in memory, except strings that its augmented copy
    shares.
    """
    roles, attributes = before.roles, before.attributes
    if (
        roles == identity.roles[: len(roles)]
        and (not attributes or attributes is identity.attributes)
        and before.scopes is identity.scopes
    ):
        return _PLAIN_IDENTITY + _PLACE * len(roles)
    return _identity_bytes(before)


def addition_bytes(addition: Addition) -> int:
    """Estimate how many bytes the addition of an augmenter takes up in memory."""
    attributes = addition.attributes
    size = _PLAIN_IDENTITY + texts_bytes(addition.roles)
    return size + _ATTRIBUTE * len(attributes) + texts_bytes(attributes, attributes.values())


def texts_bytes(*collections: Collection[str]) -> int:
    """
    Return how many bytes the strings in a tuple, and the tuple's references to them, take up in
    memory.
    """
    size = 0
    for texts in collections:
        joined = "".join(texts)
        if joined.isascii():
            size += len(joined) + _TEXT * len(texts)
        else:
            size += sum(map(getsizeof, texts)) + _TEXT * len(texts)
    return size + _TUPLE * len(collections)


class _Fresh(Protocol):
    """An answer of a remote service that can be cached until a certain time."""

    @property
    def fresh_until(self) -> float | None: ...


F = TypeVar("F", bound=_Fresh)


class _Answer(Entry, Generic[F]):
    """An entry of a L{LookupCache}, which contains one answer."""

    __slots__ = ("value",)

    def __init__(self, key: bytes, value: F, size: int, subject: Hashable) -> None:
        super().__init__(key, size, subject)
        self.value = value


@define(eq=False)
class LookupCache(Generic[F]):
    """
    A cache for the results of lookups, with at most one lookup at a time for each key.

    An answer of a remote service may be used until its C{fresh_until}. Failures are not cached,
    because the decision cache remembers rejections, and after an outage the remote service must be
    asked again. The keys of lookups, which may contain credentials, are stored only as keyed
    hashes. The cache has a budget in bytes, of which each subject, such as a user, has a share; see
    L{LruCache}.

    @param size: a function that returns how many bytes an answer takes up.
    @param stale: seconds after the C{fresh_until} of an answer in which L{stale_answer} returns it.
    @param subject: a function that returns to which subject, such as a user, an answer belongs.
    """

    _clock: IReactorTime
    _max_bytes: int
    _size: Callable[[F], int]
    _stale: float = 0.0
    _subject: Callable[[F], Hashable] | None = None
    _hash: blake2b = field(
        factory=lambda: blake2b(urandom(32), digest_size=16), init=False, repr=False
    )
    """A BLAKE2 hash object that has read a secret first, so that it works as a keyed hash."""
    _known: LruCache[_Answer[F]] = field(init=False, repr=False)
    _flights: SingleFlight[F] = field(factory=SingleFlight, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._known = LruCache(self._max_bytes, _MAX_ENTRIES)

    async def get(self, question: str, look_up: AsyncCall[F], subject: Hashable = None) -> F:
        """
        Return the cached answer if it is fresh, else the result of C{look_up}.

        @param subject: the subject to which the answer belongs, for a cache without a function
            C{subject}.
        """
        key = self._hashed(question)
        known = self._known.get(key)
        if known is not None and _is_fresh(known.value, self._clock.seconds()):
            return known.value
        return await self._flights.result(key, lambda: self._look_up(key, look_up, subject))

    def stale_answer(self, question: str) -> F | None:
        """
        Return the cached answer if it is fresh, or has been stale for at most
        C{stale} seconds.
        """
        known = self._known.get(self._hashed(question))
        if known is not None and _is_fresh(known.value, self._clock.seconds() - self._stale):
            return known.value
        return None

    def forget(self, question: str) -> None:
        """Remove the answer to a lookup from the cache."""
        self._known.drop(self._hashed(question))

    @property
    def size(self) -> int:
        """The number of bytes that all answers in the cache take up."""
        return self._known.size

    async def _look_up(self, key: bytes, look_up: AsyncCall[F], subject: Hashable) -> F:
        answer = await look_up()
        if _is_fresh(answer, self._clock.seconds() - self._stale):
            whose = subject if self._subject is None else self._subject(answer)
            self._known.put(_Answer(key, answer, self._size(answer), whose))
        return answer

    def _hashed(self, question: str) -> bytes:
        hashed = self._hash.copy()
        hashed.update(question.encode("utf-8", "surrogatepass"))
        return hashed.digest()


def _is_fresh(answer: _Fresh, now: float) -> bool:
    return answer.fresh_until is not None and now < answer.fresh_until


class AuthenticationCache(LookupCache[Authentication]):
    """
    A cache of authentications by credential, in which each user has a share of
    the memory budget.
    """

    def __init__(self, clock: IReactorTime, max_bytes: int = DEFAULT_BYTES) -> None:
        super().__init__(
            clock, max_bytes, authentication_bytes, subject=attrgetter("identity.username")
        )
