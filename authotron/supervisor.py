"""Several processes serve the same sockets, and one more, which answers nobody, watches them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron import __version__, logs, systemd, worker
from authotron.child import Child
from authotron.compose import compose
from authotron.config import Config
from authotron.errors import ConfigError, Unavailable
from authotron.listening import Listener, endpoints, second_listeners
from authotron.metrics import Metrics
from authotron.pipe import Unanswered
from authotron.racing import everyone, within
from authotron.service import EX_CONFIG, Pool, outside
from authotron.worker import BEAT

STARTING, SILENT = 30, 5
"""Beats that a worker may miss before it serves, and after."""

_STEADY = 10
"""Beats after which one that dies has not died of its start."""

_FIRST_DELAY, _LAST_DELAY = 0.1, 10.0
_PATIENCE = 3.0
_AFTER_GRACE = 2.0


class Held:
    """A listening socket that is kept open for others to accept from."""

    def __init__(self, reactor: Any, endpoint: str | systemd.Endpoint) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._port: Any = None

    @property
    def description(self) -> str:
        each = self._endpoint
        return each if isinstance(each, str) else each.description

    def open(self) -> int:
        """
        Its descriptor.

        @raise CannotListenError: it cannot be had.
        """
        if isinstance(self._endpoint, systemd.Endpoint):
            return self._endpoint.descriptor
        failed: list[Failure] = []
        listening = serverFromString(self._reactor, self._endpoint).listen(Factory())
        listening.addCallbacks(self._take, failed.append)
        if failed:
            failed[0].raiseException()
        descriptor: int = self._port.fileno()
        return descriptor

    def _take(self, port: Any) -> None:
        port.stopReading()  # in the same turn of the reactor, so nobody has been accepted
        self._port = port

    async def close(self) -> None:
        """If it is ours: systemd goes on to hold its own."""
        if self._port is not None:
            await self._port.stopListening()


class Supervisor(MultiService):
    """
    Starts, watches, replaces and ends the workers, and speaks for all of them.

    @ivar status: what the process should exit with, in the end.
    @ivar problems: why the last reload was refused.
    @ivar served: fires when all workers serve for the first time.
    """

    _log = Logger()

    def __init__(self, load: Callable[[], Config], config: Config, reactor: Any) -> None:
        """@raise ConfigError: it cannot be run."""
        super().__init__()
        self._load = load
        self._reactor = reactor
        self._try(config)
        self._config = config
        self._kept = worker.kept(config)
        self._generation = 0
        self._held: list[Held] = [
            Held(reactor, each) for each in endpoints(config.file.server, reactor)
        ]
        self._sockets: list[int] = []
        self._seconds: list[Listener] = []
        if config.file.metrics.enabled:
            self._seconds = second_listeners(self, config, reactor, self.fail)
        self._own, self._ended = Metrics(), Metrics()
        self._own.watch("authotron_workers", "Workers that serve", lambda: len(self._serving()))
        self.status = 0
        self.stopping = False
        self.problems: tuple[str, ...] = ()
        self.children: list[Child] = []
        self.served: Deferred[None] = Deferred()
        self._losses = 0
        self._returning: list[Any] = []
        self._reloading = DeferredLock()
        self._rolling = False
        self._empty: list[Deferred[None]] = []
        self._beats = LoopingCall(self._beat)
        self._beats.clock = reactor

    def _try(self, config: Config) -> None:
        """
        Make of it what a worker would, and throw it away: nothing is started by that.

        @raise ConfigError: it cannot be run.
        """
        compose(config, outside(self._reactor, Pool(self._reactor)), Metrics())

    # --- start and stop ---

    def startService(self) -> None:
        """
        Listen everywhere, or fail; then start the workers.

        @raise SystemExit: a port cannot be had.
        """
        logs.log.config = self._config.file.logging
        super().startService()
        try:
            self._sockets = [held.open() for held in self._held]
            for listener in self._seconds:
                listener.startService()
        except (CannotListenError, OSError) as error:
            self._log.error("{error}", error=str(error), event="startup.server.failed")
            raise SystemExit(1) from None
        self._log.info(
            "authotron {version} serves at {endpoints} with {count} workers",
            version=__version__,
            endpoints=", ".join(self._described()),
            count=self._count,
            event="startup.server.started",
        )
        for _ in range(self._count):
            self._begin()
        self._beats.start(BEAT, now=False).addErrback(self.fail)

    def _described(self) -> list[str]:
        held = [each.description for each in self._held]
        return held + [each.description for each in self._seconds]

    async def stopService(self) -> None:
        """Drain all, within the grace; who is still there soon after is killed."""
        self.stopping = True
        self._forget_returning()
        await everyone([self._drain(child) for child in self.children])
        await everyone([held.close() for held in self._held])
        await self._all_ended()
        if self._beats.running:
            self._beats.stop()
        await everyone([listener.stopService() for listener in self._seconds])
        os.close(self._kept)
        super().stopService()

    def fail(self, failure: Failure) -> None:
        """Something without which there is no point in going on has failed: stop, and say so."""
        self._log.failure("the service cannot go on", failure, event="startup.server.failed")
        self._give_up(1)

    def _give_up(self, status: int) -> None:
        self.status = status
        self._reactor.stop()

    async def _all_ended(self) -> None:
        if self.children:
            empty: Deferred[None] = Deferred()
            self._empty.append(empty)
            await empty

    @property
    def _count(self) -> int:
        return self._config.file.server.processes

    def _serving(self) -> list[Child]:
        return [child for child in self.children if child.serves]

    # --- workers ---

    def _begin(self) -> Child:
        given = worker.Descriptors(len(self._sockets))
        child: Child = Child(
            self._generation,
            given.hears,
            {"forget": lambda _: Deferred.fromCoroutine(self._forget(child))},
            self._ended_by_itself,
            self._serves,
        )
        command = worker.command()
        self._reactor.spawnProcess(
            child,
            command[0],
            command,
            worker.environment(given.sockets, os.environ),
            childFDs=given.filled(self._sockets, self._kept),
        )
        self.children.append(child)
        return child

    def _serves(self, child: Child) -> None:
        self._log.info("worker {pid} serves", pid=child.pid, event="workers.serving")
        if len(self._serving()) >= self._count and not self.served.called:
            self.served.callback(None)

    def _ended_by_itself(self, child: Child, how: str) -> None:
        """A worker is gone, be it that it was to go."""
        self.children.remove(child)
        if child.counted is not None:
            self._ended.add(child.counted, ended=True)
        if not (child.leaving or self.stopping):
            self._lost(child, how)
        while self._empty and not self.children:
            self._empty.pop().callback(None)

    def _lost(self, child: Child, how: str) -> None:
        self._log.error("worker {pid} is gone: {how}", pid=child.pid, how=how, event="workers.lost")
        self._own.worker_lost("blocked" if child.killed else "died")
        if child.exit_status is not None and not (child.served or self.served.called):
            self._give_up(child.exit_status or 1)  # as the only process would
        elif child.exit_status == EX_CONFIG and self._generation == 0:
            self._give_up(EX_CONFIG)
        else:
            self._losses = 0 if child.beats >= _STEADY else self._losses
            self._fill()

    def _fill(self) -> None:
        """Let new workers come for those that are lost, the later the more often that happened."""
        if self._rolling or self.stopping:
            return
        there = [child for child in self.children if not child.leaving]
        for _ in range(self._count - len(there) - len(self._returning)):
            delay = min(_FIRST_DELAY * 2.0 ** min(self._losses, 10), _LAST_DELAY)
            self._losses += 1
            self._returning.append(self._reactor.callLater(delay, self._return))

    def _return(self) -> None:
        self._returning.pop(0)
        self._begin()

    def _forget_returning(self) -> None:
        for each in self._returning:
            each.cancel()
        self._returning.clear()

    def _beat(self) -> None:
        """
        Kill who is silent.

        Beats are counted and not seconds, so that a clock that jumps, or a machine that slept,
        kills nobody.
        """
        for child in self.children:
            child.missed += 1
            if child.missed > (SILENT if child.served else STARTING):
                self._log.error(
                    "worker {pid} does not answer", pid=child.pid, event="workers.blocked"
                )
                child.kill()

    async def _drain(self, child: Child) -> None:
        """Let a worker go. It has stopped to listen, or is about to be killed, when this ends."""
        child.leaving = True
        grace = self._config.file.server.grace + _AFTER_GRACE
        child.kill_after(self._reactor.callLater(grace, child.kill))
        with suppress(Unavailable, Unanswered):
            await within(self._reactor, grace, child.ask("drain"))

    # --- reload ---

    def reload(self) -> Deferred[None]:
        """
        Replace all workers, one after the other, if the configuration is good.

        @return: fires when only new workers accept connections, or nothing has changed.
        """
        return self._reloading.run(lambda: Deferred.fromCoroutine(self._reload()))

    async def _reload(self) -> None:
        if self.stopping:
            return
        old = self._config
        try:
            config = self._load()
            self._try(config)
        except ConfigError as error:
            self._refuse(*map(str, error.problems))
            return
        self._adopt(config)
        self._rolling = True
        try:
            await self._roll()
        except (Unanswered, Unavailable):
            self._adopt(old)
            self._refuse("a worker with the new configuration did not start")
        else:
            self.problems = ()
            self._own.reloaded("success")
            self._log.info("the configuration was read again", event="startup.config.reloaded")
        finally:
            self._rolling = False
            self._fill()

    def _adopt(self, config: Config) -> None:
        """From now on workers are started with this one."""
        if self._fixed(config) != self._fixed(self._config):
            self._log.warn(
                "what changed in server.listen and metrics takes effect after a restart",
                event="startup.config.restart",
            )
        os.close(self._kept)
        self._config, self._kept = config, worker.kept(config)
        self._generation += 1
        logs.log.config = config.file.logging

    def _fixed(self, config: Config) -> object:
        server = config.file.server
        return server.listen, server.host, server.port, config.file.metrics

    def _refuse(self, *problems: str) -> None:
        self.problems = problems
        self._own.reloaded("failure")
        for problem in problems:
            self._log.error(
                "not usable: {problem}", problem=problem, event="startup.config.refused"
            )

    async def _roll(self) -> None:
        """
        For each new worker that serves one that was there before may go.

        @raise Unanswered: a new worker did not come to serve.
        """
        self._forget_returning()
        for _ in range(self._count):
            await self._begin().begun()
            await everyone([self._drain(child) for child in self._older()[:1]])
        await everyone([self._drain(child) for child in self._older()])

    def _older(self) -> list[Child]:
        return [
            child
            for child in self.children
            if child.generation < self._generation and not child.leaving
        ]

    # --- for all of them ---

    async def _forget(self, asks: Child) -> None:
        """
        A token has changed: nobody may repeat what was known before.

        Who cannot be asked is dead, and repeats nothing.

        @raise Unavailable: somebody who lives has not forgotten.
        """
        others = [child for child in self.children if child is not asks]
        outcomes = await everyone([child.ask("forget") for child in others])
        for child, outcome in zip(others, outcomes, strict=True):
            if isinstance(outcome, Failure) and child in self.children:
                raise Unavailable("a worker has not forgotten")

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """The sum over all workers, those that are gone included."""
        living = [child for child in self.children if child.served]
        await everyone([within(self._reactor, _PATIENCE, child.count()) for child in living])
        total = Metrics()
        for part in (self._own, self._ended):
            total.add(part.counted())
        for child in self.children:
            if child.counted is not None:
                total.add(child.counted)
        return total.text(accept)

    async def readiness(self) -> Mapping[str, Any]:
        """What one of the workers says of the remotes, and how all of them fare."""
        told = await self._told()
        return {
            **told,
            "ready": bool(self._serving()) and not self.stopping,
            "last_reload": list(self.problems) or "good",
            "workers": [{"pid": child.pid, "state": child.state} for child in self.children],
        }

    async def _told(self) -> Mapping[str, Any]:
        for child in self._serving():
            with suppress(Unavailable, Unanswered):
                told: Mapping[str, Any] = await within(self._reactor, _PATIENCE, child.ask("ready"))
                return told
        warnings: Sequence[str] = list(self._config.warnings)
        return {"ready": False, "version": __version__, "parts": [], "warnings": warnings}
