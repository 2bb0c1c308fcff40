"""The Twisted service of a process, connected to signals, systemd and the exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.garbage import exempt_from_collection
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config.check import Config
from authotron.daemon import systemd
from authotron.daemon.reload import Load
from authotron.daemon.service import GatewayService


class Gateway(Protocol):
    """
    The service of the gateway: one process that serves requests, or the supervisor of several.

    @ivar status: the exit status of the process.
    @ivar served: fires when the gateway accepts connections.
    @ivar problems: why the configuration that was read last is not used.
    """

    status: int

    @property
    def served(self) -> Deferred[None]: ...

    @property
    def problems(self) -> Sequence[str]: ...

    def reload(self) -> Deferred[None]: ...

    def fail(self, failure: Failure) -> None: ...


def build(
    load: Load,
    config: Config,
    reactor: IGatewayReactor,
    *,
    is_interactive: bool,
) -> Service:
    """
    Build the gateway, with one process or with a supervisor of several.

    @param is_interactive: whether the process exits with 0 after Ctrl-C.

    @raise ConfigError: a plugin, or a file that the configuration names, cannot be used.
    """
    service: GatewayService | Supervisor
    if config.file.server.processes > 1:
        from authotron.daemon.workers.supervisor import Supervisor  # noqa: PLC0415 - needs memory

        service = Supervisor(load, config, reactor)
    else:
        service = GatewayService(load, config, reactor)
    _reload_on_hangup(service, reactor)
    _tell_systemd(service, reactor)
    _stop_once(reactor)
    _exit_with_status(service, reactor, is_interactive=is_interactive)
    exempt_from_collection(reactor)
    return service


def _reload_on_hangup(service: Gateway, reactor: IReactorCore) -> None:
    """Reload the configuration on SIGHUP, which would end twistd otherwise."""

    def reload() -> None:
        systemd.reloading(os.environ)
        reloading: Deferred[None] = maybeDeferred(service.reload)
        reloading.addCallback(reloaded).addErrback(service.fail)

    def reloaded(_: None) -> None:
        status = (
            "configuration refused, serving with the old one" if service.problems else "serving"
        )
        systemd.notify(os.environ, "READY=1", f"STATUS={status}")

    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reload))  # type: ignore[attr-defined] # IReactorFromThreads


def _tell_systemd(service: Gateway, reactor: IReactorCore) -> None:
    """Tell systemd when the service is ready and when it stops, and send heartbeats."""

    def ready(_: None) -> None:
        systemd.notify(os.environ, "READY=1", "STATUS=serving")

    def start() -> None:
        service.served.addCallback(ready).addErrback(_not_notified)
        if (seconds := systemd.watchdog(os.environ)) is not None:
            heartbeat = LoopingCall(systemd.notify, os.environ, "WATCHDOG=1")
            heartbeat.start(seconds / 2).addErrback(_not_notified)

    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", systemd.notify, os.environ, "STOPPING=1")


def _not_notified(failure: Failure) -> None:
    """Log that systemd gets no heartbeats any more; its watchdog will restart the service."""
    Logger().failure("sending a heartbeat to systemd failed, expecting a restart", failure)


def _stop_once(reactor: IReactorCore) -> None:
    """
    Ignore further SIGINT and SIGTERM signals while the service stops, because Twisted would log an
    error for each further signal.
    """
    is_stopping: list[bool] = []

    def stop(act: Callable[[int, FrameType | None], object], number: int, frame: Any) -> None:
        if not is_stopping:
            is_stopping.append(True)
            act(number, frame)

    def install() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            act = signal.getsignal(number)
            if callable(act):
                signal.signal(number, partial(stop, act))

    reactor.callWhenRunning(install)


def _exit_with_status(service: Gateway, reactor: IReactorCore, *, is_interactive: bool) -> None:
    """
    Exit with the status of the service. Otherwise twistd would exit with 0 after a failure while
    running, or end by the signal that stopped the service.
    """

    def exit_with_status() -> None:
        if service.status or is_interactive:
            sys.stdout.flush()
            os._exit(service.status)

    reactor.addSystemEventTrigger("after", "shutdown", exit_with_status)
