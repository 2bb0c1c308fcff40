"""The metrics of all workers, added up for the one metrics port."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.concurrency.racing import start, wait_all, with_timeout
from authotron.daemon.workers.process import WorkerProcess
from authotron.telemetry.metrics import Metrics

TIMEOUT = 3.0
"""Seconds to wait for the metrics or the readiness of a worker."""


@define(eq=False)
class WorkerMetrics:
    """
    Adds up the metrics of the workers, of those that have ended, and of the supervisor.

    @ivar own: the metrics of the supervisor, such as how many workers it has lost.
    """

    _clock: IReactorTime
    _workers: Sequence[WorkerProcess]
    own: Metrics = field(factory=Metrics, init=False)
    _ended: Metrics = field(factory=Metrics, init=False)
    _log = Logger()

    def note_ended(self, worker: WorkerProcess) -> None:
        """Keep the counters of a worker that has ended, so that the totals do not fall."""
        self._add(self._ended, worker, ended=True)

    async def total(self) -> Metrics:
        """
        Return the metrics of all workers, added up.

        If a worker does not answer in time, the metrics that it reported last are used.
        """
        asked = [worker for worker in self._workers if worker.has_served]
        in_time = partial(with_timeout, self._clock, TIMEOUT)
        await wait_all([start(in_time(worker.fetch_counted())) for worker in asked])
        pids = [worker.pid for worker in self._workers if worker.pid is not None]
        total = Metrics(lambda: pids)
        for part in (self.own, self._ended):
            total.add(part.counted())
        for worker in self._workers:
            self._add(total, worker)
        return total

    def _add(self, total: Metrics, worker: WorkerProcess, *, ended: bool = False) -> None:
        """
        Add the metrics of one worker to the totals.

        Metrics of a worker that cannot be read are left out, and do not stop the supervisor.
        """
        if worker.counted is None:
            return
        try:
            total.add(worker.counted, ended=ended)
        except (AttributeError, KeyError, TypeError, ValueError):
            self._log.failure(
                "metrics of worker {pid} cannot be read, leaving them out",
                pid=worker.pid,
                event="workers.failed",
            )
