"""
A queue for what is scarce, with a fair share for each client.

Clients that guess passwords or tokens can ask for more than there is. They must not shut out the
others.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from attrs import define, field, frozen
from cachetools import TTLCache
from twisted.internet.interfaces import IReactorTime

from authotron.model.hosts import site

HALF_LIFE = 30.0
"""Seconds after which a failure counts half."""

_FAILED_LATELY = 0.5
_MOST_FAILURES = 32.0
"""Failures of a client that count at most: the last one is forgotten after 3 min."""

_TRUSTED_SECONDS = 3600.0
"""Seconds for which a client and user name stay known after a success."""

_REMEMBERED = 10_000
_HASH = re.compile(r"[0-9a-f]{32}")


class Standing(IntEnum):
    """How much a client is trusted; the lower, the sooner it is served."""

    GOOD = 0
    NEW = 1
    FAILING = 2


@frozen
class Asker:
    """
    Keyed hashes of a client, and of the client with a user name or token.

    @ivar client: C{None} for requests without an address.
    @ivar path: the shares that its jobs belong to, from the outermost to the innermost.
    """

    client: bytes | None
    pair: bytes
    path: Sequence[bytes]


def _tell_no_other(_pair: str) -> None:
    """There are no other workers."""


@define(eq=False)
class Standings:
    """
    Remembers which clients failed lately, and which of their user names were verified.

    @ivar tell: tells the other workers, which have the same key, that a pair is trusted.
    """

    _clock: IReactorTime
    _key: bytes = field(factory=partial(os.urandom, 32), repr=False)
    tell: Callable[[str], object] = field(default=_tell_no_other, repr=False)
    failures: Failures = field(init=False, repr=False)
    trusted: TTLCache[bytes, bool] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.failures = Failures(self._clock)
        self.trusted = TTLCache(_REMEMBERED, _TRUSTED_SECONDS, self._clock.seconds)

    def asker(self, client: str | None, name: str) -> Asker:
        """
        Identify a client that asks, and find the shares that its jobs belong to.

        @param name: the user name, or the token, that it presents.
        """
        address = b"" if client is None else site(client).encode("utf-8", "surrogatepass")
        raw = name.encode("utf-8", "surrogatepass")
        outer = self._hashed(b"client", address)
        pair = self._hashed(b"pair", b"%d %b%b" % (len(address), address, raw))
        path = (pair,) if self.of(pair) is Standing.GOOD else (outer, pair)
        return Asker(outer if address else None, pair, path)

    def of(self, key: bytes) -> Standing:
        """The standing of a client, or of a client and user name."""
        if key in self.failures:
            return Standing.FAILING
        return Standing.GOOD if key in self.trusted else Standing.NEW

    def succeeded(self, asker: Asker) -> None:
        """Trust a client and user name for an hour, here and at all other workers."""
        self._trust(asker.pair)
        self.tell(asker.pair.hex())

    def hear(self, pair: Any) -> None:
        """Trust what was verified at another worker; what cannot be read is passed over."""
        if isinstance(pair, str) and _HASH.fullmatch(pair):
            self._trust(bytes.fromhex(pair))

    def _trust(self, pair: bytes) -> None:
        self.trusted[pair] = True
        self.failures.discard(pair)

    def failed(self, asker: Asker) -> None:
        """
        Note a failure of a client and of its user name.

        Requests without an address are of many clients, so only the names count.
        """
        self.failures.add(asker.pair)
        if asker.client is not None:
            self.failures.add(asker.client)

    def _hashed(self, kind: bytes, text: bytes) -> bytes:
        return blake2b(text, key=self._key, person=kind, digest_size=16).digest()


@define(eq=False)
class Failures:
    """Counts the recent failures of each key; forgets the oldest of more than 10,000 keys."""

    _clock: IReactorTime
    known: OrderedDict[bytes, tuple[float, float]] = field(factory=OrderedDict, init=False)

    def __contains__(self, key: bytes) -> bool:
        return self._level(key) >= _FAILED_LATELY

    def add(self, key: bytes) -> None:
        level = min(self._level(key) + 1, _MOST_FAILURES)
        self.known[key] = (level, self._clock.seconds())
        self.known.move_to_end(key)
        if len(self.known) > _REMEMBERED:
            self.known.popitem(last=False)

    def discard(self, key: bytes) -> None:
        self.known.pop(key, None)

    def _level(self, key: bytes) -> float:
        level, then = self.known.get(key, (0.0, 0.0))
        return level and level * 0.5 ** ((self._clock.seconds() - then) / HALF_LIFE)


@define(eq=False)
class Job:
    """
    A piece of work that waits for its turn.

    @ivar number: jobs that came later have higher ones; set by the queue.
    """

    asker: Asker
    number: int = field(default=0, init=False)


J = TypeVar("J", bound=Job)


@define(eq=False)
class FairQueue(Generic[J]):
    """
    Jobs in turns of the clients that ask.

    A client is an address, for IPv6 the first 64 bits of one. Requests without an address are one
    client together. The user names of one client take turns as well. A user name that was verified
    for a client within the last hour is a client of its own, so that it does not suffer from what
    others do at the same address.

    Clients and user names are kept as keyed hashes.
    """

    standings: Standings
    _number: int = field(default=0, init=False)
    _jobs: _Share[J] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._jobs = _Share(self.standings)

    def __len__(self) -> int:
        return self._jobs.size

    def add(self, job: J) -> None:
        """Let a job wait."""
        self._number += 1
        job.number = self._number
        self._jobs.add(job, job.asker.path)

    def take(self) -> J:
        """Take the job whose turn it is."""
        return self._jobs.take()

    def shed(self) -> J:
        """Take the job that is to be refused, where too many wait."""
        return self._jobs.shed()

    def remove(self, job: J) -> None:
        """Take a job out that is no longer wanted."""
        self._jobs.remove(job, job.asker.path)


@define(eq=False)
class _Share(Generic[J]):
    """
    The waiting jobs of all clients, of one client, or of one user name.

    @ivar standing: of its client, when it was last at the end of the queue.
    @ivar newest: the number of the job that came last.
    """

    _standings: Standings
    standing: Standing = field(default=Standing.NEW)
    size: int = field(default=0, init=False)
    newest: int = field(default=0, init=False)
    _shares: dict[bytes, _Share[J]] = field(factory=dict, init=False)
    _jobs: deque[J] = field(factory=deque, init=False)
    _best_first: bool = field(default=False, init=False)

    def add(self, job: J, path: Sequence[bytes]) -> None:
        """Put a job last in its share."""
        self.size += 1
        self.newest = job.number
        if not path:
            self._jobs.append(job)
            return
        share = self._shares.get(path[0])
        if share is None:
            share = self._shares[path[0]] = _Share(self._standings)
        share.standing = self._standings.of(path[0])
        share.add(job, path[1:])

    def take(self) -> J:
        """Take the next job. Shares take turns; every other turn is for the best standing."""
        self.size -= 1
        if not self._shares:
            return self._jobs.popleft()
        self._best_first = not self._best_first
        key = min(self._shares, key=self._rank) if self._best_first else next(iter(self._shares))
        share = self._shares.pop(key)
        job = share.take()
        if share.size:
            share.standing = self._standings.of(key)
            self._shares[key] = share  # behind all others
        return job

    def shed(self) -> J:
        """
        Take the job that is to be refused.

        It is the newest of the largest share; among shares of equal size the worst standing
        decides. If clients that failed lately hold more than half, it is one of theirs.
        """
        self.size -= 1
        if not self._shares:
            return self._jobs.pop()
        failing = [key for key in self._shares if self._rank(key) is Standing.FAILING]
        too_many = sum(self._shares[key].size for key in failing) > self.size // 2
        key = max(failing if too_many else self._shares, key=self._excess)
        return self._without(key, self._shares[key].shed())

    def remove(self, job: J, path: Sequence[bytes]) -> None:
        """Take a job out that is no longer wanted."""
        self.size -= 1
        if path:
            self._shares[path[0]].remove(job, path[1:])
            self._without(path[0], job)
        else:
            self._jobs.remove(job)

    def _without(self, key: bytes, job: J) -> J:
        if not self._shares[key].size:
            del self._shares[key]
        return job

    def _rank(self, key: bytes) -> Standing:
        return self._shares[key].standing

    def _excess(self, key: bytes) -> tuple[int, Standing, int]:
        share = self._shares[key]
        return share.size, share.standing, share.newest
