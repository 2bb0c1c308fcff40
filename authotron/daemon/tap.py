"""The plugin of C{twistd}: its options, and the service that C{twistd authotron} starts."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from authotron.concurrency.pieces import exempt_from_collection
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config import file
from authotron.config.check import Config
from authotron.daemon import leftovers, systemd
from authotron.daemon.service import GatewayService
from authotron.daemon.workers.supervisor import Supervisor
from authotron.model.errors import EX_CONFIG, ConfigError
from authotron.telemetry.terminal import visible

Gateway = GatewayService | Supervisor
"""The service: one process that serves, or the supervisor of several."""


class Options(usage.Options):
    """The options of C{twistd authotron}."""

    optParameters = [  # noqa: RUF012 - the shape that twistd wants
        ["config", "c", None, "configuration file (default: AOT_CONFIG_PATH, or ./config.yaml)"]
    ]
    optFlags = [  # noqa: RUF012 - as above
        ["check", None, "check the configuration, list its problems, and exit"],
        ["interactive", None, "exit with 0 after Ctrl-C, so that make(1) reports no failure"],
    ]
    config: Config

    def load(self) -> Config:
        """
        Read the configuration file.

        @raise ConfigError: the configuration is invalid; the error lists all its problems.
        """
        return file.load(self.path(), os.environ)

    def path(self) -> Path:
        """Return the path of the configuration file."""
        return Path(self["config"] or file.path_of(os.environ))

    def postOptions(self) -> None:
        """
        Read the configuration before anything is started.

        @raise SystemExit: the configuration is invalid (78), or C{--check} was given (0).
        """
        try:
            self.config = self.load()
        except ConfigError as error:
            raise _refused(error) from None
        if self["check"]:
            raise SystemExit(0)
        if self.parent is not None and self.parent.get("pidfile"):
            leftovers.remove_stale_pid_file(Path(self.parent["pidfile"]))
        if self.parent is not None and not self.parent.get("logger"):
            self.parent["logger"] = "authotron.telemetry.logs.observer"


def makeService(options: Options, reactor: IGatewayReactor | None = None) -> IService:
    """
    Build the gateway, with one process or with a supervisor of several.

    @raise SystemExit: a plugin, or a file that the configuration names, cannot be used (78).
    """
    if reactor is None:
        from twisted.internet import reactor as running  # noqa: PLC0415, TID251 - the only place

        reactor = cast(IGatewayReactor, running)
    try:
        several = options.config.file.server.processes > 1
        service = (Supervisor if several else GatewayService)(options.load, options.config, reactor)
    except ConfigError as error:
        raise _refused(error) from None
    _reload_on_hangup(service, reactor)
    _tell_systemd(service, reactor)
    _stop_once(reactor)
    _exit_with_status(service, reactor, is_interactive=bool(options["interactive"]))
    exempt_from_collection(reactor)
    return service


def _refused(error: ConfigError) -> SystemExit:
    """Print all problems to standard error, and return the exception that exits with status 78."""
    for problem in error.problems:
        print(visible(str(problem)), file=sys.stderr)  # noqa: T201 - logging has not started
    return SystemExit(EX_CONFIG)


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
    Exit with the status of the service; twistd itself exits with 0 after a failure while running,
    or ends by the signal that stopped the service.
    """

    def exit_with_status() -> None:
        if service.status or is_interactive:
            sys.stdout.flush()
            os._exit(service.status)

    reactor.addSystemEventTrigger("after", "shutdown", exit_with_status)
