"""Several processes serve the same sockets; this one answers nobody, watches and speaks for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron import __version__
from authotron.concurrency.racing import start, wait_all
from authotron.config.check import Config
from authotron.daemon import reload
from authotron.daemon.compose import compose
from authotron.daemon.listening import Listener, endpoints, second_listeners
from authotron.daemon.runtime import Pool, outside
from authotron.daemon.workers.messages import PeerError
from authotron.daemon.workers.pool import WorkerPool
from authotron.daemon.workers.sockets import ListeningSocket
from authotron.daemon.workers.worker import BEAT
from authotron.model.errors import ConfigError
from authotron.telemetry import logs
from authotron.telemetry.metrics import Metrics


class Supervisor(Service):
    """
    Holds the sockets, the workers and the second port.

    @ivar status: what the process should exit with, in the end.
    """

    _log = Logger()

    def __init__(self, load: Callable[[], Config], config: Config, reactor: Any) -> None:
        """@raise ConfigError: it cannot be run."""
        self._load = load
        self._reactor = reactor
        self._try(config)
        self._config = self._began_with = config
        self._held = [
            ListeningSocket(reactor, each) for each in endpoints(config.file.server, reactor)
        ]
        self.crew = WorkerPool(config, reactor, self._give_up)
        self._seconds: list[Listener] = []
        if config.file.metrics.enabled:
            counts = self.crew.own
            self._seconds = second_listeners(self, config, reactor, self.fail, counts)
        self.status = 0
        self.stopping = False
        self._refused: tuple[str, ...] = ()
        self.crew.own.watch_reloads(lambda: self.problems)
        self._reloading = DeferredLock()
        self._beats = LoopingCall(self.crew.beat)
        self._beats.clock = reactor

    def _try(self, config: Config) -> None:
        """
        Make of it what a worker would, and throw it away: nothing is started by that.

        @raise ConfigError: it cannot be run.
        """
        compose(config, outside(self._reactor, Pool(self._reactor)), Metrics())

    @property
    def served(self) -> Deferred[None]:
        """Fires when all workers serve for the first time."""
        return self.crew.served

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the last reload was refused, or is not in use as a whole."""
        return self._refused + self.crew.problems

    def startService(self) -> None:
        """
        Listen everywhere, or fail; then start the workers.

        @raise SystemExit: a port cannot be had.
        """
        logs.log.config = self._config.file.logging
        super().startService()
        reload.tell_warnings(self._log, self._config)
        try:
            sockets = [held.open() for held in self._held]
            for listener in self._seconds:
                listener.startService()
        except (CannotListenError, OSError) as error:
            self._log.error("{error}", error=str(error), event="startup.server.failed")
            raise SystemExit(1) from None
        self._log.info(
            "authotron {version} serves at {endpoints} with {count} workers",
            version=__version__,
            endpoints=", ".join(each.description for each in self._held),
            count=self.crew.size,
            event="startup.server.started",
        )
        self.crew.start(sockets)
        self._beats.start(BEAT, now=False).addErrback(self.fail)

    async def stopService(self) -> None:
        """Let those in flight finish, within the grace; who is still there soon after is killed."""
        self.stopping = True
        await self.crew.drain()
        await wait_all([start(held.close()) for held in self._held])
        await self.crew.end()
        if self._beats.running:
            self._beats.stop()
        await wait_all([start(listener.stopService()) for listener in self._seconds])
        super().stopService()

    def fail(self, failure: Failure) -> None:
        """Something without which there is no point in going on has failed: stop, and say so."""
        self._log.failure("the service cannot go on", failure, event="startup.server.failed")
        self._give_up(1)

    def _give_up(self, status: int) -> None:
        if not self.status:
            self.status = status
            self._reactor.stop()

    # --- reload ---

    def reload(self) -> Deferred[None]:
        """
        Replace all workers, if the configuration is good and each of the new ones serves with it.

        @return: fires when only new workers accept connections, or nothing has changed.
        """
        return self._reloading.run(
            lambda: Deferred.fromCoroutine(self._reload()).addErrback(self._reload_failed)
        )

    async def _reload(self) -> None:
        if self.stopping:
            return
        try:
            config = self._load()
            self._try(config)
            await self.crew.replace(config)
        except ConfigError as error:
            self._refuse(*map(str, error.problems))
        except PeerError:
            if not self.stopping:
                self._refuse("a worker with the new configuration did not start")
        except OSError as error:
            self._refuse(f"no worker with the new configuration can be started: {error}")
        else:
            self._adopt(config)

    def _reload_failed(self, failure: Failure) -> None:
        """Go on with the workers that serve: a defect in a reload is no reason to end them."""
        self._log.failure(reload.FAILED, failure, event="reload.failed")
        self._refuse(reload.FAILED)

    def _refuse(self, *problems: str) -> None:
        self._refused = problems
        self.crew.own.reloaded("failure")
        reload.tell_refused(self._log, problems)

    def _adopt(self, config: Config) -> None:
        self._refused = ()
        self.crew.own.reloaded("failure" if self.problems else "success")
        logs.log.config = config.file.logging
        reload.tell_adopted(self._log, self._began_with, config, several=True)
        self._config = config

    # --- the second port ---

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        return (await self.crew.metrics()).text(accept)

    async def readiness(self) -> Mapping[str, Any]:
        """What one of the workers says of the remotes, and how all of them fare."""
        told = await self.crew.readiness()
        return {
            **(told or {"version": __version__, "parts": []}),
            "warnings": list(self._config.warnings),
            "ready": told is not None and not self.stopping,
            "last_reload": list(self.problems) or "good",
            "workers": [{"pid": child.pid, "state": child.state} for child in self.crew.workers],
        }
