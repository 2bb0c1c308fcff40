"""Passwords that a remote has rejected for a user, and that are not sent to it again yet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from os import urandom
from typing import Any, TypeGuard, TypeVar

from attrs import define, field, frozen
from pydantic import Field
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.racing import AsyncCall
from authotron.concurrency.single_flight import SingleFlight
from authotron.config.section import Seconds, Section
from authotron.model.errors import Rejected

T = TypeVar("T")

LONGEST = 600.0
"""Seconds for which a rejected password may be remembered."""

_BYTES = 4 * 2**20
"""
Maximum number of bytes that rejected passwords take up; beyond it, the passwords of the user who
failed longest ago are dropped first.
"""

_PAIR, _USER = 250, 700
"""
Estimated bytes of memory for each rejected password, and for each user with rejected passwords.
"""

_SHARE = 32
"""
Maximum number of rejected passwords that are remembered for one user, so that guesses do not evict
other users.
"""

_SIZE = 16
"""Length of the keyed hash of a user or a password, in bytes."""


GRACE = 10.0
"""
Number of seconds for which the gateway waits for the answer to a password that it has sent, after
the client has disconnected.
"""


class RetryConfig(Section):
    """The configuration key of all providers whose remote service may lock accounts."""

    retry_wrong_after: Seconds = Field(
        default=60,
        ge=10,
        le=LONGEST,
        description="seconds for which a user name and a password that the remote has refused "
        "together are refused by the gateway, without asking the remote again",
    )


def _no_workers(_word: str, _content: object) -> None:
    """Do nothing: a service of one process has no other worker to notify."""


@define(eq=False)
class RejectedPasswords:
    """
    Pairs of a user and a password that remotes have rejected, as keyed hashes.

    Directories lock an account after a few wrong passwords, so a client that repeats an old
    password would lock its user out. All workers share rejected passwords.

    Rejected pairs are not in an L{authotron.limits.lru_cache.LruCache}, as a user's pairs are
    dropped together, the user with the oldest last rejection first, and as reading a pair must not
    prolong its life.

    @ivar _notify: sends a message, given its name and its content, to the other workers.
    """

    clock: IReactorTime
    _key: bytes = field(factory=lambda: urandom(32), repr=False)
    _notify: Callable[[str, Any], object] = field(default=_no_workers, repr=False)
    _users: OrderedDict[bytes, dict[bytes, float]] = field(
        factory=OrderedDict, init=False, repr=False
    )
    _size: int = field(default=0, init=False)

    def guard(self, provider: str, seconds: float) -> PasswordGuard:
        """
        Build the guard that keeps one provider from sending rejected passwords again.

        @param seconds: how long a rejected pair of user and password is not sent to the remote
            again.
        """
        return PasswordGuard(self, provider, seconds)

    def clear(self) -> None:
        """Drop all rejected passwords, because some of them may be valid after a reload."""
        self._users.clear()
        self._size = 0

    def size(self) -> int:
        """Return the approximate number of bytes that the rejected passwords take up."""
        return self._size

    # --- one pair of user and password ---

    def hashed(self, provider: str, user: str, password: str) -> tuple[bytes, bytes]:
        """Return two keyed hashes: of provider and user, and of provider, user and password."""
        name = f"{len(provider)}:{provider}{user}".encode("utf-8", "surrogatepass")
        user_key = blake2b(name, key=self._key, digest_size=_SIZE).digest()
        secret = user_key + password.encode("utf-8", "surrogatepass")
        return user_key, blake2b(secret, key=self._key, digest_size=_SIZE).digest()

    def holds(self, user: bytes, pair: bytes) -> bool:
        """Return whether a user's password was rejected, so that it must not be sent again yet."""
        pairs = self._users.get(user)
        return pairs is not None and pairs.get(pair, 0.0) > self.clock.seconds()

    def add(self, user: bytes, pair: bytes, seconds: float) -> None:
        """Remember a rejected password in all workers."""
        self._note(user, pair, seconds)
        self._notify("wrong_pair", {"user": user.hex(), "pair": pair.hex(), "seconds": seconds})

    def drop(self, user: bytes) -> None:
        """Drop the rejected passwords of a user who was accepted, in all workers."""
        if self._remove(user):
            self._notify("right_pair", {"user": user.hex()})

    # --- messages of other workers ---

    def on_rejected(self, content: Any) -> None:
        """Remember a password that another worker saw rejected; ignore a malformed message."""
        if isinstance(content, Mapping):
            user, pair, seconds = content.get("user"), content.get("pair"), content.get("seconds")
            if _is_hash(user) and _is_hash(pair) and isinstance(seconds, int | float):
                self._note(bytes.fromhex(user), bytes.fromhex(pair), min(seconds, LONGEST))

    def on_accepted(self, content: Any) -> None:
        """Drop a user's rejected passwords after another worker's success; skip bad messages."""
        user = content.get("user") if isinstance(content, Mapping) else None
        if _is_hash(user):
            self._remove(bytes.fromhex(user))

    # --- the memory that rejected passwords take up ---

    def _note(self, user: bytes, pair: bytes, seconds: float) -> None:
        pairs = self._users.get(user)
        if pairs is None:
            pairs = self._users[user] = {}
            self._size += _USER
        self._users.move_to_end(user)
        if pairs.pop(pair, None) is None:
            self._size += _PAIR
        pairs[pair] = self.clock.seconds() + seconds
        if len(pairs) > _SHARE:
            del pairs[next(iter(pairs))]
            self._size -= _PAIR
        while self._size > _BYTES:
            self._remove(next(iter(self._users)))

    def _remove(self, user: bytes) -> bool:
        pairs = self._users.pop(user, None)
        if pairs is None:
            return False
        self._size -= _USER + _PAIR * len(pairs)
        return True


def _is_hash(given: object) -> TypeGuard[str]:
    if not isinstance(given, str) or len(given) != 2 * _SIZE:
        return False
    return all(each in "0123456789abcdef" for each in given)


@define
class PasswordStatus:
    """
    Whether a password was sent to a remote that has not answered yet.

    The remote may count a failure even if the client has disconnected.
    """

    is_sent: bool = False


@frozen(eq=False)
class PasswordGuard:
    """
    Keeps one provider from sending a rejected password to its remote again.

    L{PasswordGuard} does not stop clients that guess passwords: each password that it has not seen
    is sent to the remote.
    """

    _pairs: RejectedPasswords = field(repr=False)
    _provider: str
    _seconds: float
    _flights: SingleFlight[Any] = field(factory=SingleFlight, init=False, repr=False)

    async def judge(
        self, user: str, password: str, ask: AsyncCall[T], status: PasswordStatus | None = None
    ) -> T:
        """
        Verify a user and password by C{ask}, unless the remote has rejected them before.

        If clients send equal user names and passwords at the same time, the remote gets them once.
        If the remote is unavailable, the password does not count as rejected.

        @param status: records whether the password was sent to the remote. The answer to a sent
            password is awaited for up to L{GRACE} seconds after the client has disconnected, so
            that a client that reconnects does not cause the password to be sent again.

        @raise Rejected: the remote service rejects the user and password, or has rejected them
            before.
        """
        user_key, pair = self._pairs.hashed(self._provider, user, password)
        if self._pairs.holds(user_key, pair):
            raise Rejected(
                "the remote has rejected this password for the user before, and it is not sent "
                "again yet"
            )
        linger = None if status is None else partial(self._lingers, status)
        found: T = await self._flights.result(pair, lambda: self._ask(user_key, pair, ask), linger)
        return found

    def _lingers(self, status: PasswordStatus, cancel: Callable[[], None]) -> bool:
        if status.is_sent:
            self._pairs.clock.callLater(GRACE, cancel)
        return status.is_sent

    async def _ask(self, user: bytes, pair: bytes, ask: AsyncCall[T]) -> T:
        try:
            found = await ask()
        except Rejected:
            self._pairs.add(user, pair, self._seconds)
            raise
        self._pairs.drop(user)
        return found
