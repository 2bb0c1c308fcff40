"""The workers of a supervisor: how they come, are watched, are replaced, and go."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import start, wait_all, with_timeout
from authotron.concurrency.waiters import Waiters
from authotron.config.check import Config
from authotron.daemon.service import EX_CONFIG
from authotron.daemon.workers import spawning
from authotron.daemon.workers.messages import PeerError
from authotron.daemon.workers.process import WorkerProcess
from authotron.model.errors import Unavailable
from authotron.telemetry.metrics import Metrics

STARTING, SILENT = 30, 5
"""Beats that a worker may miss before it serves, and after."""

PATIENCE = 3.0
"""Seconds to wait for an answer about metrics or readiness."""

_STEADY = 10
"""Beats after which one that dies has not died of its start."""

_FIRST_DELAY, _LAST_DELAY = 0.1, 10.0
_AFTER_GRACE = 2.0


class WorkerPool:
    """
    All workers, those that are leaving included.

    @ivar own: what is counted about the workers, and not by them.
    @ivar served: fires when all serve for the first time.
    """

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, give_up: Callable[[int], None]) -> None:
        """@param give_up: ends the service with this exit status; another worker would not help."""
        self._reactor = reactor
        self._give_up = give_up
        self._config = config
        self._sealed = spawning.sealed(config)
        self._sockets: Sequence[int] = ()
        self.own, self._ended = Metrics(), Metrics()
        self.own.expect_workers()
        self.own.watch("authotron_workers", "Workers that serve", lambda: len(self.serving))
        self.workers: list[WorkerProcess] = []
        self.served: Deferred[None] = Deferred()
        self._losses = 0
        self._returning: list[IDelayedCall] = []
        self._replacing = self._reloaded = self._stopping = False
        self._empty: Waiters[None] = Waiters()

    @property
    def size(self) -> int:
        """How many there should be."""
        return self._config.file.server.processes

    @property
    def serving(self) -> list[WorkerProcess]:
        return [child for child in self.workers if child.is_serving]

    @property
    def problems(self) -> tuple[str, ...]:
        """Why those who stay cannot use all of their configuration, as one of them says."""
        said = (child.problems for child in self.workers if not child.leaving)
        return next(filter(None, said), ())

    # --- they come and go ---

    def start(self, sockets: Sequence[int]) -> None:
        """Let all of them come, to accept from these descriptors."""
        self._sockets = sockets
        for _ in range(self.size):
            self._begin()

    async def drain(self) -> None:
        """Let all of them go. None accepts connections any more when this ends."""
        self._stopping = True
        self._expect_nobody()
        await wait_all([start(self._drain(child)) for child in [*self.workers]])

    async def end(self) -> None:
        """Wait until the last is gone."""
        if self.workers:
            await self._empty.join()

    def _begin(self) -> WorkerProcess:
        given = spawning.Descriptors(len(self._sockets))
        child: WorkerProcess = WorkerProcess(
            given.hears,
            {
                "forget": lambda tokens: Deferred.fromCoroutine(self._forget(child, tokens)),
                "refused": lambda problems: self._note_refused(child, problems),
                "wrong_pair": lambda given: self._pass_on(child, "wrong_pair", given),
                "right_pair": lambda given: self._pass_on(child, "right_pair", given),
                "trusted": lambda given: self._pass_on(child, "trusted", given),
            },
            self._note_gone,
            self._note_serving,
        )
        command = spawning.command()
        self._reactor.spawnProcess(
            child,
            command[0],
            command,
            spawning.environment(given.sockets, os.environ, proven=self._is_proven),
            childFDs=given.filled(self._sockets, self._sealed),
        )
        self.workers.append(child)
        return child

    @property
    def _is_proven(self) -> bool:
        """Whether one bad worker is no reason to give up: others serve, or an operator looks."""
        return self._reloaded or any(child.beats >= _STEADY for child in self.workers)

    def _note_serving(self, child: WorkerProcess) -> None:
        self._log.info("worker {pid} serves", pid=child.pid, event="workers.serving")
        if len(self.serving) >= self.size and not self.served.called:
            self.served.callback(None)

    def _note_refused(self, child: WorkerProcess, problems: Any) -> None:
        """It is one event, however many say so; during a reload it is part of that."""
        if not (self.problems or self._replacing):
            self.own.reloaded("failure")
        child.problems = tuple(map(str, problems))

    async def _drain(self, child: WorkerProcess) -> None:
        """Let a worker go. It listens no more, or was killed, when this ends."""
        child.leaving = True
        grace = self._config.file.server.grace + _AFTER_GRACE
        child.kill_after(self._reactor.callLater(grace, child.kill))
        with suppress(Unavailable, PeerError):
            await with_timeout(self._reactor, grace, child.ask("drain"))

    def _note_gone(self, child: WorkerProcess, how: str) -> None:
        self.workers.remove(child)
        if child.counted is not None:
            self._add(self._ended, child, ended=True)
        if not (child.leaving or self._stopping):
            self._lost(child, how)
        if not self.workers:
            self._empty.succeed(None)

    # --- they are watched ---

    def beat(self) -> None:
        """
        Kill who is silent.

        Beats are counted and not seconds, so that a clock that jumps, or a machine that slept,
        kills nobody.
        """
        for child in self.workers:
            child.missed += 1
            if child.missed > (SILENT if child.served else STARTING):
                self._log.error(
                    "worker {pid} does not answer", pid=child.pid, event="workers.blocked"
                )
                child.kill()

    def _lost(self, child: WorkerProcess, how: str) -> None:
        self._log.error("worker {pid} is gone: {how}", pid=child.pid, how=how, event="workers.lost")
        self.own.worker_lost("blocked" if child.killed else "died")
        if child.exit_status is not None and not (child.served or self.served.called):
            self._give_up(child.exit_status or 1)  # as the only process would
        elif child.exit_status == EX_CONFIG and not self._is_proven:
            self._give_up(EX_CONFIG)
        else:
            self._losses = 0 if child.beats >= _STEADY else self._losses
            self._fill()

    def _fill(self) -> None:
        """Let others come for those that are lost; the more often that happens, the later."""
        if self._replacing or self._stopping:
            return
        there = [child for child in self.workers if not child.leaving]
        for _ in range(self.size - len(there) - len(self._returning)):
            delay = min(_FIRST_DELAY * 2.0 ** min(self._losses, 10), _LAST_DELAY)
            self._losses += 1
            self._returning.append(self._reactor.callLater(delay, self._return))

    def _return(self) -> None:
        self._returning = [each for each in self._returning if each.active()]
        try:
            self._begin()
        except OSError as error:
            self._log.error(
                "no worker can be started: {reason}",
                reason=str(error),
                event="workers.start.failed",
            )
            self._fill()

    def _expect_nobody(self) -> None:
        for each in self._returning:
            each.cancel()
        self._returning.clear()

    # --- they are replaced ---

    async def replace(self, config: Config) -> None:
        """
        Let new workers with another configuration come; when all of them serve, the old ones go.

        So there is a way back that needs nobody to start: if one is no good, the new ones go.

        Whatever else fails, the old ones stay as well, with their configuration.

        @raise Unanswered: one did not come to serve, or not for long. The old ones stay.
        @raise OSError: the system lets no more of them start. The old ones stay.
        """
        before, there = (self._config, self._sealed), [*self.workers]
        self._config, self._sealed = config, spawning.sealed(config)
        self._replacing = self._reloaded = True
        self._expect_nobody()
        try:
            await self._come()
        except Exception:
            os.close(self._sealed)
            self._config, self._sealed = before
            await self._let_go([child for child in self.workers if child not in there])
            raise
        else:
            os.close(before[1])
            await self._let_go(there)
        finally:
            self._replacing = False
            self._fill()

    async def _come(self) -> None:
        """One at a time, so that those who serve have the processors."""
        come: list[WorkerProcess] = []
        for _ in range(self.size):
            if self._stopping:
                raise PeerError
            come.append(self._begin())
            await come[-1].until_serving()
        if not all(child in self.workers for child in come):
            raise PeerError

    async def _let_go(self, children: Sequence[WorkerProcess]) -> None:
        await wait_all([start(self._drain(child)) for child in children if not child.leaving])

    # --- they are asked ---

    async def _forget(self, asks: WorkerProcess, tokens: Any) -> None:
        """
        API tokens were changed: no other worker may repeat what was known before.

        @param tokens: their ids; C{None} for all that is remembered.

        Who cannot be asked is dead, and repeats nothing.

        @raise Unavailable: somebody who lives has not forgotten.
        """
        others = [child for child in self.workers if child is not asks]
        outcomes = await wait_all([start(child.ask("forget", tokens)) for child in others])
        for child, outcome in zip(others, outcomes, strict=True):
            if isinstance(outcome, Failure) and child in self.workers:
                raise Unavailable("a worker has not forgotten")

    def _pass_on(self, tells: WorkerProcess, word: str, given: Any) -> None:
        """Tell all other workers what one has found out about a user."""
        for child in self.workers:
            if child is not tells:
                child.tell(word, given)

    async def metrics(self) -> Metrics:
        """The sum over all, those that are gone included; of who is silent, its last word."""
        within_patience = partial(with_timeout, self._reactor, PATIENCE)
        await wait_all(
            [
                start(within_patience(child.fetch_counted()))
                for child in [*self.workers]
                if child.served
            ]
        )
        total = Metrics(lambda: [child.pid for child in self.workers if child.pid is not None])
        for part in (self.own, self._ended):
            total.add(part.counted())
        for child in self.workers:
            if child.counted is not None:
                self._add(total, child)
        return total

    def _add(self, total: Metrics, child: WorkerProcess, *, ended: bool = False) -> None:
        """What a worker has counted; whatever it says, the supervisor goes on."""
        try:
            total.add(child.counted or {}, ended=ended)
        except (AttributeError, KeyError, TypeError, ValueError):
            self._log.failure(
                "what worker {pid} counted makes no sense", pid=child.pid, event="workers.failed"
            )

    async def readiness(self) -> dict[str, Any] | None:
        """What one that serves says of it; C{None} if there is none."""
        for child in self.serving:
            with suppress(Unavailable, PeerError):
                told: dict[str, Any] = await with_timeout(
                    self._reactor, PATIENCE, child.ask("ready")
                )
                return told
        return None
