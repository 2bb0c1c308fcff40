"""
The supervisor of several workers: it holds the listening sockets, serves only the metrics port, and
runs the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron import __version__
from authotron.concurrency.racing import start, wait_all
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config.check import Config
from authotron.daemon import reload
from authotron.daemon.compose import compose
from authotron.daemon.listening import (
    Listener,
    address_fields,
    endpoints,
    log_stopped,
    log_stopping,
    metrics_listeners,
    url_of,
    why_not_listening,
)
from authotron.daemon.runtime import Pool, make_world
from authotron.daemon.workers.heartbeats import Heartbeats
from authotron.daemon.workers.messages import PeerError
from authotron.daemon.workers.pool import WorkerPool
from authotron.daemon.workers.replacement import Replacement
from authotron.daemon.workers.sockets import ListeningSocket
from authotron.model.errors import ConfigError, Problem
from authotron.telemetry import logs
from authotron.telemetry.metrics import Metrics

T = TypeVar("T")


class Supervisor(Service):
    """
    Holds the listening sockets, runs the workers, and serves the metrics port.

    @ivar pool: the worker processes.
    @ivar status: the exit status of the process.
    @ivar stopping: whether the service has begun to stop.
    """

    _log = Logger()

    def __init__(self, load: reload.Load, config: Config, reactor: IGatewayReactor) -> None:
        """@raise ConfigError: the configuration cannot be used."""
        self._reactor = reactor
        self._try(config)
        self._config = config
        self._sockets = [
            ListeningSocket(reactor, each) for each in endpoints(config.file.server, reactor)
        ]
        self.pool = WorkerPool(config, reactor, self._give_up)
        own = self.pool.metrics.own
        self._listeners: list[Listener] = []
        if config.file.metrics.enabled:
            self._listeners = metrics_listeners(self, config, reactor, self.fail, own)
        self.status = 0
        self.stopping = False
        self._refused: tuple[str, ...] = ()
        own.watch_reloads(lambda: self.problems)
        self._reloader = reload.Reloader(
            load, config, self._replace_workers, self._adopt, self._refuse, has_workers=True
        )
        self._heartbeats = Heartbeats(self.pool.workers, reactor)

    def _try(self, config: Config) -> None:
        """
        Build the gateway of a configuration as a worker would, and start nothing.

        The rules of the policy are not checked again here, because they were checked when the
        configuration was read.

        @raise ConfigError: the configuration cannot be used.
        """
        world = make_world(self._reactor, Pool(self._reactor))
        compose(config.without_rules(), world, Metrics())

    @property
    def served(self) -> Deferred[None]:
        """A Deferred that fires when all workers accept connections for the first time."""
        return self.pool.served

    # --- how the service starts and stops ---

    def startService(self) -> None:
        """
        Listen at all endpoints, then start the workers.

        @raise SystemExit: the system refuses to listen at an endpoint.
        """
        logs.log.configure(self._config.file.logging)
        super().startService()
        reload.log_warnings(self._log, self._config)
        descriptors = [
            (self._opened(socket.open, socket.description, "server"), socket.protocol)
            for socket in self._sockets
        ]
        for listener in self._listeners:
            self._opened(listener.startService, listener.description, listener.port)
        for each in self._sockets:
            self._log.info(
                "authotron {version} serves at {url} with {count} workers",
                version=__version__,
                endpoint=each.description,
                url=url_of(each.address, each.description),
                count=self.pool.size,
                **address_fields(each.address),
                event="startup.server.listening",
            )
        for listener in self._listeners:
            listener.log_listening()
        self.pool.start(descriptors)
        self._heartbeats.start().addErrback(self.fail)

    def _opened(self, listen: Callable[[], T], description: str, port: str) -> T:
        """
        Listen at one endpoint of the main port.

        @raise SystemExit: the system refuses to listen at the endpoint.
        """
        try:
            return listen()
        except (CannotListenError, OSError) as error:
            why = why_not_listening(error, description, port)
            self._log.error("{error}", error=why, event="startup.server.failed")
            raise SystemExit(1) from None

    async def stopService(self) -> None:
        """Drain all workers, and kill those that run longer than the grace."""
        self.stopping = True
        log_stopping(self._log, self._config.file.server.grace)
        await self.pool.stop()
        await wait_all([start(socket.close()) for socket in self._sockets])
        await self.pool.until_empty()
        self._heartbeats.stop()
        await wait_all([start(listener.stopService()) for listener in self._listeners])
        super().stopService()
        log_stopped(self._log)

    def fail(self, failure: Failure) -> None:
        """Stop the service after a fatal error."""
        self._log.failure("fatal error, shutting down", failure, event="startup.server.failed")
        self._give_up(1)

    def _give_up(self, status: int) -> None:
        if not self.status:
            self.status = status
            self._reactor.stop()

    # --- reload ---

    @property
    def problems(self) -> tuple[str, ...]:
        """
        The reasons why the configuration that was read last is not in use, or is used
        only in part.
        """
        return self._refused + self.pool.problems

    def reload(self) -> Deferred[None]:
        """
        Replace all workers, if the configuration is valid and each new worker serves with it.

        @return: a Deferred that fires when only new workers accept connections, or when the
            configuration was refused.
        """
        return self._reloader.reload()

    async def _replace_workers(self, config: Config) -> Config | None:
        """
        Replace all workers by workers with another configuration.

        @return: the configuration that is now in use, or C{None} if the service is stopping.

        @raise ConfigError: the configuration cannot be used, or a new worker does not serve.
        """
        if self.stopping:
            return None
        self._try(config)
        try:
            await Replacement(self.pool).replace(config)
        except PeerError:
            if self.stopping:
                return None
            raise _not_started("a worker with the new configuration did not start") from None
        except OSError as error:
            reason = f"a worker with the new configuration cannot be started: {error}"
            raise _not_started(reason) from None
        return config

    def _adopt(self, config: Config) -> None:
        self._config = config
        self._refused = ()
        self.pool.metrics.own.reload_ended("failure" if self.problems else "success")

    def _refuse(self, problems: Sequence[str]) -> None:
        """Store and log the reasons why a new configuration is not used."""
        self._refused = tuple(problems)
        self.pool.metrics.own.reload_ended("failure")
        reload.log_refused(self._log, problems)

    # --- what the metrics port shows ---

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics of all workers in one of the media types that a scraper accepts."""
        return (await self.pool.metrics.total()).text(accept)

    async def readiness(self) -> Mapping[str, Any]:
        """
        Return the state of all workers, and the state of remote services as one
        worker reports it.
        """
        report = await self.pool.readiness()
        return {
            **(report or {"version": __version__, "parts": []}),
            "warnings": list(self._config.warnings),
            "ready": report is not None and report.get("ready", True) and not self.stopping,
            "last_reload": list(self.problems) or "good",
            "workers": [{"pid": each.pid, "state": each.state} for each in self.pool.workers],
        }


def _not_started(reason: str) -> ConfigError:
    return ConfigError([Problem("", reason)])
