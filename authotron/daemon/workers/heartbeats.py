"""Heartbeats of worker processes: a worker that misses too many heartbeats is killed."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from authotron.daemon.workers.process import WorkerProcess

HEARTBEAT = 1.0
"""Seconds between two heartbeats of a worker."""

MAX_MISSED = 5
"""Number of heartbeats in a row that a worker may miss before it is killed."""

MAX_MISSED_AT_START = 30
"""Number of heartbeats that a worker may miss while it starts, before it is killed."""


@define(eq=False)
class Heartbeats:
    """
    Watches the heartbeats of workers, and kills a worker that misses too many.

    Heartbeats are counted, not seconds, so that a clock that jumps, or a suspended machine, does
    not kill a worker.

    @ivar _workers: the workers of the pool, which the pool keeps up to date.
    """

    _workers: Sequence[WorkerProcess]
    _clock: IReactorTime
    _loop: LoopingCall = field(init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._loop = LoopingCall(self.check)
        self._loop.clock = self._clock

    def start(self) -> Deferred[LoopingCall]:
        """
        Check heartbeats once per second.

        The Deferred that C{start} returns fails if a check of heartbeats raises an exception.
        """
        return self._loop.start(HEARTBEAT, now=False)

    def stop(self) -> None:
        """Stop checking heartbeats, if the checks were started."""
        if self._loop.running:
            self._loop.stop()

    def check(self) -> None:
        """Count a missed heartbeat for each worker, and kill workers that missed too many."""
        for worker in self._workers:
            worker.missed += 1
            if worker.missed > (MAX_MISSED if worker.has_served else MAX_MISSED_AT_START):
                self._log.error(
                    "worker {pid} does not answer: no heartbeat for {seconds:.0f} s, killing it",
                    pid=worker.pid,
                    seconds=worker.missed * HEARTBEAT,
                    event="workers.blocked",
                )
                worker.kill()
