"""
A queue for a scarce resource, with a fair share for each client.

Clients that guess passwords or tokens can send more requests than the gateway or a remote service
can handle. Clients that guess passwords or tokens must not shut out the other clients.
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

from authotron.model.hosts import client_network

HALF_LIFE = 30.0
"""Number of seconds after which a failure counts half."""

_FAILED_LATELY = 0.5
"""Number of failures, weighted by age, from which on a client counts as failing."""

_MOST_FAILURES = 32.0
"""
Maximum number of failures that are counted for a client, so that it counts as failing for at most 3
min after its last failure.
"""

_TRUSTED_SECONDS = 3600.0
"""Number of seconds for which a client with a user name stays trusted after a success."""

_REMEMBERED = 10_000
"""
Maximum number of clients and user names remembered as failing, and the same
number as trusted.
"""

_HASH = re.compile(r"[0-9a-f]{32}")


class Reputation(IntEnum):
    """The reputation of a client; clients with a lower value are served sooner."""

    GOOD = 0
    NEW = 1
    FAILING = 2


@frozen
class Asker:
    """
    Keyed hashes of a client, and of the client with a user name or token.

    @ivar client: the hash is C{None} if the address of the client is not known.
    @ivar path: where the client's jobs are in a L{FairQueue}: client hash, then C{pair}, or C{pair}
        alone if the user name counts as its own client.
    """

    client: bytes | None
    pair: bytes
    path: Sequence[bytes]


def _no_workers(_pair: str) -> None:
    """Do nothing: a service of one process has no other worker to notify."""


@define(eq=False)
class Reputations:
    """
    Remembers which clients failed lately, and which of their user names were verified.

    @ivar _notify: sends the keyed hash of a trusted client and user name to the other workers,
        which share the hash key.
    """

    _clock: IReactorTime
    _key: bytes = field(factory=partial(os.urandom, 32), repr=False)
    _notify: Callable[[str], object] = field(default=_no_workers, repr=False)
    failures: Failures = field(init=False, repr=False)
    trusted: TTLCache[bytes, bool] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.failures = Failures(self._clock)
        self.trusted = TTLCache(_REMEMBERED, _TRUSTED_SECONDS, self._clock.seconds)

    def asker(self, client: str | None, name: str) -> Asker:
        """
        Return keyed hashes of a client and of its user name or token, and the client's queue path.

        @param name: the user name or the token that the client has sent.
        """
        address = b"" if client is None else client_network(client).encode("utf-8", "surrogatepass")
        raw = name.encode("utf-8", "surrogatepass")
        outer = self._hashed(b"client", address)
        pair = self._hashed(b"pair", b"%d %b%b" % (len(address), address, raw))
        path = (pair,) if self.of(pair) is Reputation.GOOD else (outer, pair)
        return Asker(outer if address else None, pair, path)

    def of(self, key: bytes) -> Reputation:
        """Return the reputation of a client, or of a client with a user name."""
        if key in self.failures:
            return Reputation.FAILING
        return Reputation.GOOD if key in self.trusted else Reputation.NEW

    def succeeded(self, asker: Asker) -> None:
        """Trust a client with a user name for an hour, in all workers."""
        self._trust(asker.pair)
        self._notify(asker.pair.hex())

    def on_trusted(self, pair: Any) -> None:
        """Trust a client and user name that another worker verified; ignore malformed messages."""
        if isinstance(pair, str) and _HASH.fullmatch(pair):
            self._trust(bytes.fromhex(pair))

    def _trust(self, pair: bytes) -> None:
        self.trusted[pair] = True
        self.failures.discard(pair)

    def failed(self, asker: Asker) -> None:
        """
        Count a failure of a client, and of the client with its user name.

        Requests without a client address may come from many clients, so their failures are
        counted only for the user name.
        """
        self.failures.add(asker.pair)
        if asker.client is not None:
            self.failures.add(asker.client)

    def _hashed(self, kind: bytes, text: bytes) -> bytes:
        return blake2b(text, key=self._key, person=kind, digest_size=16).digest()


@define(eq=False)
class Failures:
    """The recent failures of each client hash; beyond 10,000 hashes the oldest one is dropped."""

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
    A piece of work that waits for its turn in a queue.

    @ivar number: the number that the queue gives to the job; later jobs have higher numbers.
    """

    asker: Asker
    number: int = field(default=0, init=False)


J = TypeVar("J", bound=Job)


@define(eq=False)
class FairQueue(Generic[J]):
    """
    A queue in which clients take turns.

    A client is an IPv4 address, or the first 64 bits of an IPv6 address. All requests without an
    address count as one client. The user names of one client take turns as well. A user name that
    was verified for a client within the last hour counts as a client of its own, so that other
    users of the same address do not delay it.

    Clients and user names are kept as keyed hashes.
    """

    reputations: Reputations
    _number: int = field(default=0, init=False)
    _jobs: _Share[J] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._jobs = _Share(self.reputations)

    def __len__(self) -> int:
        return self._jobs.size

    def add(self, job: J) -> None:
        """Add a job to the queue of waiting clients."""
        self._number += 1
        job.number = self._number
        self._jobs.add(job, job.asker.path)

    def take(self) -> J:
        """Remove the job whose turn it is from the queue, and return the job."""
        return self._jobs.take()

    def shed(self) -> J:
        """Remove the job that is refused because too many jobs wait, and return the job."""
        return self._jobs.shed()

    def remove(self, job: J) -> None:
        """Remove a job that was cancelled from the queue."""
        self._jobs.remove(job, job.asker.path)


@define(eq=False)
class _Share(Generic[J]):
    """
    The waiting jobs of all clients, of one client, or of one user name.

    The L{_Share} of all clients contains a L{_Share} for each client, which contains a L{_Share}
    for each of its user names.

    @ivar reputation: the reputation of the client when a job of the client was last added or taken.
    @ivar newest: the number of the job that was added last.
    """

    _reputations: Reputations
    reputation: Reputation = field(default=Reputation.NEW)
    size: int = field(default=0, init=False)
    newest: int = field(default=0, init=False)
    _shares: dict[bytes, _Share[J]] = field(factory=dict, init=False)
    _jobs: deque[J] = field(factory=deque, init=False)
    _best_first: bool = field(default=False, init=False)

    def add(self, job: J, path: Sequence[bytes]) -> None:
        """Append a job to the L{_Share} that its path leads to."""
        self.size += 1
        self.newest = job.number
        if not path:
            self._jobs.append(job)
            return
        share = self._shares.get(path[0])
        if share is None:
            share = self._shares[path[0]] = _Share(self._reputations)
        share.reputation = self._reputations.of(path[0])
        share.add(job, path[1:])

    def take(self) -> J:
        """
        Remove the next job from the queue, and return the job.

        Clients take turns, and the user names of one client do, too. Every second turn goes to the
        client or user name with the best reputation.
        """
        self.size -= 1
        if not self._shares:
            return self._jobs.popleft()
        self._best_first = not self._best_first
        key = min(self._shares, key=self._rank) if self._best_first else next(iter(self._shares))
        share = self._shares.pop(key)
        job = share.take()
        if share.size:
            share.reputation = self._reputations.of(key)
            self._shares[key] = share  # The client goes to the end of the queue again.
        return job

    def shed(self) -> J:
        """
        Remove the job that is to be refused, and return the job.

        The newest job of the client or user name with most jobs is refused; on a tie, the one with
        the worse reputation loses. If clients that failed lately have more than half of a full
        queue, one of their jobs is refused.
        """
        self.size -= 1
        if not self._shares:
            return self._jobs.pop()
        failing = [key for key in self._shares if self._rank(key) is Reputation.FAILING]
        too_many = sum(self._shares[key].size for key in failing) > self.size // 2
        key = max(failing if too_many else self._shares, key=self._excess)
        return self._without(key, self._shares[key].shed())

    def remove(self, job: J, path: Sequence[bytes]) -> None:
        """Remove a job that was cancelled from the queue."""
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

    def _rank(self, key: bytes) -> Reputation:
        return self._shares[key].reputation

    def _excess(self, key: bytes) -> tuple[int, Reputation, int]:
        share = self._shares[key]
        return share.size, share.reputation, share.newest
