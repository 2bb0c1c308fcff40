"""Pairs of a user and a password that a remote has refused, and is not asked about again yet."""

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
"""Seconds for which a pair may be remembered."""

_BYTES = 4 * 2**20
"""Bytes that all pairs may take; those of the users who failed longest ago give way."""

_PAIR, _USER = 250, 700
"""Bytes that a pair takes, and a user beside the pairs."""

_SHARE = 32
"""Pairs remembered for one user, so that guesses at one push out no others."""

_SIZE = 16
"""Bytes of a hash."""


GRACE = 10.0
"""Seconds for which the answer to a password that was sent is waited for without a client."""


class RetryConfig(Section):
    """The key of every provider that sends passwords to a remote, which may count failures."""

    retry_wrong_after: Seconds = Field(
        default=60,
        ge=10,
        le=LONGEST,
        description="seconds for which a user name and a password that the remote has refused "
        "together are refused here, without asking it again",
    )


def _tell_no_other(_word: str, _given: object) -> None:
    """There are no other workers."""


@define(eq=False)
class WrongPairs:
    """
    The pairs that remotes have refused, under keyed hashes.

    Directories lock an account after a few wrong passwords, and a client that repeats an old one
    would lock its user out. All workers of a service know the pairs that one of them was refused.

    @ivar tell: sends the other workers a message: a word, and what belongs to it.
    """

    clock: IReactorTime
    _key: bytes = field(factory=lambda: urandom(32), repr=False)
    tell: Callable[[str, Any], object] = field(default=_tell_no_other, repr=False)
    _users: OrderedDict[bytes, dict[bytes, float]] = field(
        factory=OrderedDict, init=False, repr=False
    )
    _size: int = field(default=0, init=False)

    def guard(self, provider: str, seconds: float) -> PairGuard:
        """
        Build the guard of one provider.

        @param seconds: how long a refused pair is not sent again.
        """
        return PairGuard(self, provider, seconds)

    def clear(self) -> None:
        """Forget all pairs: a reload may have changed what is right."""
        self._users.clear()
        self._size = 0

    def size(self) -> int:
        """Bytes that the pairs take, about."""
        return self._size

    # --- one pair ---

    def hashed(self, provider: str, user: str, password: str) -> tuple[bytes, bytes]:
        """The hash of a user at a provider, and that of the user with a password."""
        name = f"{len(provider)}:{provider}{user}".encode("utf-8", "surrogatepass")
        user_key = blake2b(name, key=self._key, digest_size=_SIZE).digest()
        secret = user_key + password.encode("utf-8", "surrogatepass")
        return user_key, blake2b(secret, key=self._key, digest_size=_SIZE).digest()

    def holds(self, user: bytes, pair: bytes) -> bool:
        """Whether a pair was refused a short while ago."""
        pairs = self._users.get(user)
        return pairs is not None and pairs.get(pair, 0.0) > self.clock.seconds()

    def add(self, user: bytes, pair: bytes, seconds: float) -> None:
        """Note a refusal here and at all other workers."""
        self._note(user, pair, seconds)
        self.tell("wrong_pair", {"user": user.hex(), "pair": pair.hex(), "seconds": seconds})

    def drop(self, user: bytes) -> None:
        """Forget the pairs of a user who got in, here and at all other workers."""
        if self._remove(user):
            self.tell("right_pair", {"user": user.hex()})

    # --- what other workers tell ---

    def hear_wrong(self, given: Any) -> None:
        """Note that another worker was refused; ignore a message that cannot be read."""
        if isinstance(given, Mapping):
            user, pair, seconds = given.get("user"), given.get("pair"), given.get("seconds")
            if _is_hash(user) and _is_hash(pair) and isinstance(seconds, int | float):
                self._note(bytes.fromhex(user), bytes.fromhex(pair), min(seconds, LONGEST))

    def hear_right(self, given: Any) -> None:
        """Note that a user got in at another worker; ignore a message that cannot be read."""
        user = given.get("user") if isinstance(given, Mapping) else None
        if _is_hash(user):
            self._remove(bytes.fromhex(user))

    # --- the memory ---

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
class Sent:
    """Whether a password is with a remote just now, which may count a failure whoever waits."""

    now: bool = False


@frozen(eq=False)
class PairGuard:
    """
    Stands before one provider that sends passwords to a remote.

    It does not stop guesses: each wrong password is sent once.
    """

    _pairs: WrongPairs = field(repr=False)
    _provider: str
    _seconds: float
    _flights: SingleFlight[Any] = field(factory=SingleFlight, init=False, repr=False)

    async def judge(
        self, user: str, password: str, ask: AsyncCall[T], sent: Sent | None = None
    ) -> T:
        """
        Ask about a pair by C{ask}, unless the remote has refused it a short while ago.

        Equal pairs at the same time, however they were sent, are one question. An outage is not
        remembered.

        @param sent: while it says so the answer is waited for L{GRACE} seconds even if the client
            has left, so that an impatient client does not send the same pair again and again.

        @raise Rejected: the remote refuses, or has refused before.
        """
        user_key, pair = self._pairs.hashed(self._provider, user, password)
        if self._pairs.holds(user_key, pair):
            raise Rejected("refused before with the same password, which is not sent again yet")
        stays = None if sent is None else partial(self._stays, sent)
        found: T = await self._flights.result(pair, lambda: self._ask(user_key, pair, ask), stays)
        return found

    def _stays(self, sent: Sent, cancel: Callable[[], None]) -> bool:
        if sent.now:
            self._pairs.clock.callLater(GRACE, cancel)
        return sent.now

    async def _ask(self, user: bytes, pair: bytes, ask: AsyncCall[T]) -> T:
        try:
            found = await ask()
        except Rejected:
            self._pairs.add(user, pair, self._seconds)
            raise
        self._pairs.drop(user)
        return found
