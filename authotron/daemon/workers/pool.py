"""The pool of worker processes: it starts and drains them, and sends them messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import start, wait_all, with_timeout
from authotron.concurrency.reactor import IGatewayReactor
from authotron.concurrency.waiters import Waiters
from authotron.config.check import Config
from authotron.daemon.workers import spawning
from authotron.daemon.workers.connection_counts import Places
from authotron.daemon.workers.messages import Action, PeerError
from authotron.daemon.workers.process import WorkerProcess
from authotron.daemon.workers.respawn import Respawn
from authotron.daemon.workers.spawning import SealedConfig
from authotron.daemon.workers.worker_metrics import TIMEOUT, WorkerMetrics
from authotron.model.errors import EX_CONFIG, Unavailable

_STEADY = 10
"""
A worker that ends after this number of heartbeats was running and is lost; a worker that ends
before has failed to start.
"""

_PLACES = 4
"""
Number of places in the shared memory for each worker, because several workers may
drain meanwhile.
"""

_KILL_AFTER_GRACE = 2.0
"""Seconds after C{server.grace} until a draining worker is killed."""


class WorkerPool:
    """
    All worker processes, including those that drain.

    @ivar config: the configuration that new workers get.
    @ivar metrics: the metrics of all workers and of the supervisor.
    @ivar served: a Deferred that fires when all workers accept connections for the first time.
    @ivar is_stopping: whether the service is stopping, so that no worker may be started.
    """

    _log = Logger()

    def __init__(
        self, config: Config, reactor: IGatewayReactor, give_up: Callable[[int], None]
    ) -> None:
        """
        @param give_up: ends the service with an exit status; called if a worker failed and a new
            one would fail, too.
        """
        self._reactor = reactor
        self._give_up = give_up
        self.config = SealedConfig.of(config)
        self._places = Places.create(_PLACES * max(_PLACES, self.size))
        self._sockets: Sequence[tuple[int, str]] = ()
        self.workers: list[WorkerProcess] = []
        self.metrics = WorkerMetrics(reactor, self.workers)
        self.metrics.own.expect_workers()
        self.metrics.own.watch(
            "authotron_workers", "Workers that accept connections", lambda: len(self.serving)
        )
        self.served: Deferred[None] = Deferred()
        self.is_stopping = False
        self._was_replaced = self._is_replacing = False
        self._respawn = Respawn(reactor, self._missing, self.spawn)
        self._until_empty: Waiters[None] = Waiters()

    @property
    def size(self) -> int:
        """The number of workers that should run."""
        return self.config.config.file.server.processes

    @property
    def serving(self) -> list[WorkerProcess]:
        """The workers that accept connections."""
        return [worker for worker in self.workers if worker.is_serving]

    @property
    def problems(self) -> tuple[str, ...]:
        """
        The reasons why workers cannot use all of their configuration, as one of the workers reports
        them.
        """
        reported = (worker.problems for worker in self.workers if not worker.is_leaving)
        return next(filter(None, reported), ())

    @property
    def has_served(self) -> bool:
        """
        Whether the service continues if one worker fails.

        A failure of one worker does not end the service if any worker has run for some time, or if
        a reload has replaced the workers, because the operator then sees the failure.
        """
        return self._was_replaced or any(each.heartbeats >= _STEADY for each in self.workers)

    # --- how the workers start and stop ---

    def start(self, sockets: Sequence[tuple[int, str]]) -> None:
        """
        Start all workers, which accept connections from listening sockets.

        @param sockets: the descriptors of the listening sockets, each with its protocol.
        """
        self._sockets = sockets
        for _ in range(self.size):
            self.spawn()

    def spawn(self) -> WorkerProcess:
        """
        Start a worker.

        @raise OSError: the system cannot start another process.
        """
        descriptors = spawning.Descriptors(tuple(protocol for _, protocol in self._sockets))
        sockets = [socket for socket, _ in self._sockets]
        worker: WorkerProcess = WorkerProcess(
            descriptors.input,
            self._actions(lambda: worker),
            self._note_ended,
            self._note_serving,
        )
        worker.place = self._places.take()
        command = spawning.command()
        has_served = self.has_served
        try:
            self._reactor.spawnProcess(
                worker,
                command[0],
                command,
                spawning.environment(
                    descriptors.protocols, os.environ, has_served=has_served, place=worker.place
                ),
                childFDs=descriptors.as_child_fds(
                    sockets, self.config.descriptor, self._places.descriptor
                ),
            )
        except OSError:
            self._places.release(worker.place)
            raise
        self.workers.append(worker)
        return worker

    def _actions(self, sender: Callable[[], WorkerProcess]) -> dict[str, Action]:
        """
        Return the actions for messages of a worker: a dictionary whose keys are the first words of
        messages.
        """

        def forward(word: str) -> Action:
            return lambda content: self._forward(sender(), word, content)

        def pass_on(word: str) -> Action:
            return lambda content: self.ask_others(sender(), word, content)

        return {
            **{word: pass_on(word) for word in ("invalidate", "records")},
            "refused": lambda problems: self._note_refused(sender(), problems),
            **{word: forward(word) for word in ("wrong_pair", "right_pair", "trusted")},
        }

    async def stop(self) -> None:
        """Drain all workers, and return when none of them accepts connections any more."""
        self.is_stopping = True
        self._respawn.pause()
        await wait_all([start(self._drain(worker)) for worker in [*self.workers]])

    async def until_empty(self) -> None:
        """Wait until the last worker has ended."""
        if self.workers:
            await self._until_empty.join()

    async def drain(self, workers: Sequence[WorkerProcess]) -> None:
        """Drain some workers, and return when none of them accepts connections any more."""
        await wait_all([start(self._drain(worker)) for worker in workers if not worker.is_leaving])

    async def _drain(self, worker: WorkerProcess) -> None:
        """Let a worker finish its requests; kill it shortly after the grace."""
        worker.is_leaving = True
        seconds = self.config.config.file.server.grace + _KILL_AFTER_GRACE
        worker.kill_after(self._reactor.callLater(seconds, worker.kill))
        with suppress(Unavailable, PeerError):
            await with_timeout(self._reactor, seconds, worker.ask("drain"))

    # --- what the workers report, and how they end ---

    def _note_serving(self, worker: WorkerProcess) -> None:
        self._log.info("worker {pid} accepts connections", pid=worker.pid, event="workers.serving")
        if len(self.serving) >= self.size and not self.served.called:
            self.served.callback(None)

    def _note_refused(self, worker: WorkerProcess, problems: Any) -> None:
        """
        Store why a worker cannot use all of its configuration, and count a failed reload.

        If several workers report a problem, only one failed reload is counted. If a reload that
        replaces all workers fails, the supervisor itself counts the failure.
        """
        if not (self.problems or self._is_replacing):
            self.metrics.own.reload_ended("failure")
        worker.problems = tuple(map(str, problems))

    def _note_ended(self, worker: WorkerProcess, reason: str) -> None:
        self.workers.remove(worker)
        self._places.release(worker.place)
        self.metrics.note_ended(worker)
        if not (worker.is_leaving or self.is_stopping):
            self._note_lost(worker, reason)
        if not self.workers:
            self._until_empty.succeed(None)

    def _note_lost(self, worker: WorkerProcess, reason: str) -> None:
        """
        Replace a worker that ended unexpectedly, or end the service if a new worker would fail as
        well.
        """
        self._log.error(
            "worker {pid} ended unexpectedly: {how}",
            pid=worker.pid,
            how=reason,
            event="workers.lost",
        )
        self.metrics.own.worker_lost("blocked" if worker.was_killed else "died")
        if worker.exit_status is not None and not (worker.has_served or self.served.called):
            self._give_up(worker.exit_status or 1)
        elif worker.exit_status == EX_CONFIG and not self.has_served:
            self._give_up(EX_CONFIG)
        else:
            if worker.heartbeats >= _STEADY:
                self._respawn.reset_delay()
            self._respawn.fill()

    def _missing(self) -> int:
        return self.size - len([each for each in self.workers if not each.is_leaving])

    # --- replacement ---

    def begin_replacement(self) -> None:
        """Stop replacing lost workers, until C{end_replacement} is called."""
        self._is_replacing = self._was_replaced = True
        self._respawn.pause()

    def end_replacement(self) -> None:
        """Replace lost workers again, also those lost while all workers were being replaced."""
        self._is_replacing = False
        if not self.is_stopping:
            self._respawn.resume()

    # --- messages ---

    async def ask_others(self, sender: WorkerProcess, word: str, content: Any) -> None:
        """
        Pass a message on to all workers except the sender, and return once all have acted on it:
        C{invalidate} makes the workers discard cached decisions, because API tokens were changed,
        and C{records} makes the workers apply changed records, such as revocations.

        A worker that ends does not have to confirm, because it answers no further request.

        @raise Unavailable: a running worker has not confirmed that it acted on the message.
        """
        others = [worker for worker in self.workers if worker is not sender]
        outcomes = await wait_all([start(worker.ask(word, content)) for worker in others])
        for worker, outcome in zip(others, outcomes, strict=True):
            if isinstance(outcome, Failure) and worker in self.workers:
                raise Unavailable("a worker has not confirmed that it cleared its cache")

    def _forward(self, sender: WorkerProcess, word: str, content: Any) -> None:
        """
        Pass a message of one worker about a user, such as a rejected password, on to all other
        workers.
        """
        for worker in self.workers:
            if worker is not sender:
                worker.notify(word, content)

    async def readiness(self) -> dict[str, Any] | None:
        """
        Ask the workers one after the other; return the readiness that the first answer reports, or
        C{None} if no worker answers.
        """
        for worker in self.serving:
            with suppress(Unavailable, PeerError):
                report: dict[str, Any]
                report = await with_timeout(self._reactor, TIMEOUT, worker.ask("ready"))
                return report
        return None
