"""
The queue in front of the threads that verify password hashes, with a fair share for each client.

A hash takes about 50 ms of a processor on purpose, so that clients that guess passwords can ask for
more than there is. They must not shut out the others.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial
from hashlib import blake2b
from typing import Any, Protocol

from attrs import define, field
from cachetools import TTLCache
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from authotron.errors import Unavailable
from authotron.hosts import site

THREADS = os.cpu_count() or 2
"""Hashes that all processes of a gateway verify at once."""

WAITING = 128
"""Hashes that may wait for a thread: about as many as are verified before clients time out."""

HALF_LIFE = 30.0
"""Seconds after which a failure counts half."""

_FAILED_LATELY = 0.5
_MOST_FAILURES = 32.0
"""Failures of a client that count at most: the last one is forgotten after 3 min."""

_TRUSTED_SECONDS = 3600.0
"""Seconds for which a client and user name stay known after a success."""

_REMEMBERED = 10_000
Verify = Callable[[], int | None]
"""Verifies a password against hashes; returns C{None} if no hash fits."""

_SKIPPED = object()


class _Threads(Protocol):
    def __call__(self, work: Callable[[], Any], /) -> Deferred[Any]:
        """Start C{work} in a thread; fire with its result."""


class _Standing(IntEnum):
    """How much a client is trusted; the lower, the sooner it is served."""

    GOOD = 0
    NEW = 1
    FAILING = 2


@define(eq=False)
class _Failures:
    """Counts the recent failures of each key; forgets the oldest of more than 10,000 keys."""

    _clock: IReactorTime
    _known: OrderedDict[bytes, tuple[float, float]] = field(factory=OrderedDict, init=False)

    def __contains__(self, key: bytes) -> bool:
        return self._level(key) >= _FAILED_LATELY

    def add(self, key: bytes) -> None:
        level = min(self._level(key) + 1, _MOST_FAILURES)
        self._known[key] = (level, self._clock.seconds())
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def discard(self, key: bytes) -> None:
        self._known.pop(key, None)

    def _level(self, key: bytes) -> float:
        level, then = self._known.get(key, (0.0, 0.0))
        return level and level * 0.5 ** ((self._clock.seconds() - then) / HALF_LIFE)


@define(eq=False)
class _Job:
    """
    A password to verify.

    @ivar path: the shares that the job belongs to, from the outermost to the innermost.
    @ivar pair: the key of client and user name together.
    @ivar number: jobs that came later have higher ones.
    @ivar waits: whether no thread has been asked yet.
    """

    verify: Verify
    client: bytes | None
    pair: bytes
    path: Sequence[bytes]
    number: int
    answer: Deferred[int | None]
    waits: bool = True


@define(eq=False)
class _Share:
    """
    The waiting jobs of all clients, of one client, or of one user name.

    @ivar newest: the number of the job that came last.
    """

    _standing: Callable[[bytes], _Standing]
    size: int = field(default=0, init=False)
    newest: int = field(default=0, init=False)
    _shares: dict[bytes, _Share] = field(factory=dict, init=False)
    _jobs: deque[_Job] = field(factory=deque, init=False)
    _best_first: bool = field(default=False, init=False)

    def add(self, job: _Job, path: Sequence[bytes]) -> None:
        """Put a job last in its share."""
        self.size += 1
        self.newest = job.number
        if not path:
            self._jobs.append(job)
            return
        share = self._shares.get(path[0])
        if share is None:
            share = self._shares[path[0]] = _Share(self._standing)
        share.add(job, path[1:])

    def take(self) -> _Job:
        """Take the next job. Shares take turns; every other turn is for the best standing."""
        self.size -= 1
        if not self._shares:
            return self._jobs.popleft()
        self._best_first = not self._best_first
        key = (
            min(self._shares, key=self._standing) if self._best_first else next(iter(self._shares))
        )
        share = self._shares.pop(key)
        job = share.take()
        if share.size:
            self._shares[key] = share  # behind all others
        return job

    def shed(self) -> _Job:
        """
        Take the job that is to be refused.

        It is the newest of the largest share; among shares of equal size the worst standing
        decides. If clients that failed lately hold more than half, it is one of theirs.
        """
        self.size -= 1
        if not self._shares:
            return self._jobs.pop()
        failing = [key for key in self._shares if self._standing(key) is _Standing.FAILING]
        too_many = sum(self._shares[key].size for key in failing) > self.size // 2
        key = max(failing if too_many else self._shares, key=self._excess)
        return self._without(key, self._shares[key].shed())

    def remove(self, job: _Job, path: Sequence[bytes]) -> None:
        """Take a job out that is no longer wanted."""
        self.size -= 1
        if path:
            self._shares[path[0]].remove(job, path[1:])
            self._without(path[0], job)
        else:
            self._jobs.remove(job)

    def _without(self, key: bytes, job: _Job) -> _Job:
        if not self._shares[key].size:
            del self._shares[key]
        return job

    def _excess(self, key: bytes) -> tuple[int, _Standing, int]:
        share = self._shares[key]
        return share.size, self._standing(key), share.newest


@define(eq=False)
class HashQueue:
    """
    Verifies a few passwords at once, in turns of the clients that ask.

    A client is an address, for IPv6 the first 64 bits of one. Requests without an address are one
    client together. The user names of one client take turns as well. A user name that was verified
    for a client within the last hour is a client of its own, so that it does not suffer from what
    others do at the same address.

    If more than 128 wait, clients that failed lately keep half of the places at most, and the
    client with most places gives one up. Clients and user names are kept as keyed hashes.
    """

    _clock: IReactorTime
    _threads: _Threads
    _at_once: int = THREADS
    _running: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)
    _waiting: _Share = field(init=False, repr=False)
    _failures: _Failures = field(init=False, repr=False)
    _trusted: TTLCache[bytes, bool] = field(init=False, repr=False)
    _key: bytes = field(factory=partial(os.urandom, 32), init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._waiting = _Share(self._standing)
        self._failures = _Failures(self._clock)
        self._trusted = TTLCache(_REMEMBERED, _TRUSTED_SECONDS, self._clock.seconds)

    def verify(self, client: str | None, username: str, verify: Verify) -> Deferred[int | None]:
        """
        Call C{verify} in a thread when it is the client's turn; fire with its result.

        The Deferred fails with L{Unavailable} if the client asks for more than its share. If it is
        cancelled, a job that has not begun is given up; one that has begun keeps its thread.

        @param client: the address of the client, if it is known.
        """
        job = self._job(client, username, verify)
        self._waiting.add(job, job.path)
        self._start()
        if self._waiting.size > WAITING:
            refused = self._waiting.shed()
            refused.waits = False
            refused.answer.errback(Unavailable("too many passwords are being verified"))
        return job.answer

    def _job(self, client: str | None, username: str, verify: Verify) -> _Job:
        address = b"" if client is None else site(client).encode("utf-8", "surrogatepass")
        name = username.encode("utf-8", "surrogatepass")
        outer = self._hashed(b"client", address)
        pair = self._hashed(b"pair", b"%d %b%b" % (len(address), address, name))
        path = (pair,) if self._standing(pair) is _Standing.GOOD else (outer, pair)
        self._number += 1
        answer: Deferred[int | None] = Deferred(lambda _: self._leave(job))
        job = _Job(verify, outer if address else None, pair, path, self._number, answer)
        return job

    def _hashed(self, kind: bytes, text: bytes) -> bytes:
        return blake2b(text, key=self._key, person=kind, digest_size=16).digest()

    def _standing(self, key: bytes) -> _Standing:
        if key in self._failures:
            return _Standing.FAILING
        return _Standing.GOOD if key in self._trusted else _Standing.NEW

    def _leave(self, job: _Job) -> None:
        if job.waits:
            job.waits = False
            self._waiting.remove(job, job.path)

    def _start(self) -> None:
        while self._running < self._at_once and self._waiting.size:
            job = self._waiting.take()
            job.waits = False
            self._running += 1
            self._threads(partial(_verified, job)).addBoth(self._done, job)

    def _done(self, outcome: int | Failure | object | None, job: _Job) -> None:
        self._running -= 1
        if outcome is None:
            self._note_failure(job)
        elif isinstance(outcome, int):
            self._trusted[job.pair] = True
            self._failures.discard(job.pair)
        self._start()
        if not job.answer.called:
            job.answer.callback(outcome)  # type: ignore[arg-type] # not skipped, as it is awaited

    def _note_failure(self, job: _Job) -> None:
        """Requests without an address are of many clients, so only their user names count."""
        self._failures.add(job.pair)
        if job.client is not None:
            self._failures.add(job.client)


def _verified(job: _Job) -> int | object | None:
    """In a thread: the result, unless the client has left before the work began."""
    return _SKIPPED if job.answer.called else job.verify()


def share(processes: int) -> int:
    """How many hashes each of several processes may verify at once."""
    return max(1, THREADS // processes)
