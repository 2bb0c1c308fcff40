"""
The queue in front of the threads that verify password hashes, with a fair share for each client.

A hash takes about 50 ms of processor time on purpose, so clients that guess passwords can ask for
more hashes than the threads can verify. Clients that guess passwords or tokens must not shut out
the other clients.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from authotron.limits.fair_queue import FairQueue, Job, Reputations
from authotron.model.errors import Unavailable

THREADS = os.cpu_count() or 2
"""
Maximum number of hashes that all processes of a gateway verify at once: one for each processor.
"""

WAITING = 128
"""
Maximum number of password checks that wait for a thread: about as many as end before clients time
out.
"""

Verify = Callable[[], int | None]
"""Verifies a password against hashes; returns C{None} if no hash matches."""

_SKIPPED = object()


class _Threads(Protocol):
    def __call__(self, work: Callable[[], Any], /) -> Deferred[Any]:
        """Start C{work} in a thread; the Deferred fires with its result."""


@define(eq=False)
class _Job(Job):
    """
    A password that waits for its verification.

    @ivar waits: whether the job still waits for a thread.
    """

    verify: Verify
    answer: Deferred[int | None] = field(init=False)
    waits: bool = field(default=True, init=False)


@define(eq=False)
class HashQueue:
    """
    Verifies passwords in threads; clients take turns (see L{FairQueue}).

    If more than 128 jobs wait, one is refused: a job of a failing client if failing clients have
    more than half of the jobs, or else a job of the client with most jobs.
    """

    _clock: IReactorTime
    _threads: _Threads
    _at_once: int = THREADS
    _reputations: Reputations = field(
        default=Factory(lambda self: Reputations(self._clock), takes_self=True), repr=False
    )
    _running: int = field(default=0, init=False)
    _waiting: FairQueue[_Job] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._waiting = FairQueue(self._reputations)

    @property
    def reputations(self) -> Reputations:
        """The reputations of clients, which decide in which order clients are served."""
        return self._reputations

    def verify(self, client: str | None, username: str, verify: Verify) -> Deferred[int | None]:
        """
        Call C{verify} in a thread when it is the client's turn; the Deferred fires with the result.

        The Deferred fails with L{Unavailable} if too many jobs wait and this job is refused. If the
        Deferred is cancelled, a job that waits is removed; a job that has started keeps its thread.

        @param client: the address of the client, if the address is known.
        """
        job = _Job(self._reputations.asker(client, username), verify)
        job.answer = Deferred(lambda _: self._leave(job))
        self._waiting.add(job)
        self._start()
        if len(self._waiting) > WAITING:
            refused = self._waiting.shed()
            refused.waits = False
            refused.answer.errback(Unavailable("too many passwords are being verified"))
        return job.answer

    def _leave(self, job: _Job) -> None:
        if job.waits:
            job.waits = False
            self._waiting.remove(job)

    def _start(self) -> None:
        while self._running < self._at_once and len(self._waiting):
            job = self._waiting.take()
            job.waits = False
            self._running += 1
            self._threads(partial(_verified, job)).addBoth(self._done, job)

    def _done(self, outcome: int | Failure | object | None, job: _Job) -> None:
        self._running -= 1
        if outcome is None:
            self._reputations.failed(job.asker)
        elif isinstance(outcome, int):
            self._reputations.succeeded(job.asker)
        self._start()
        if not job.answer.called:
            job.answer.callback(outcome)  # type: ignore[arg-type] # not C{_SKIPPED}, because the caller still waits for the result


def _verified(job: _Job) -> int | object | None:
    """Verify a password in a thread, unless the client was cancelled before the thread started."""
    return _SKIPPED if job.answer.called else job.verify()


def at_once(processes: int) -> int:
    """Return how many hashes each of several processes may verify at once."""
    return max(1, THREADS // processes)
