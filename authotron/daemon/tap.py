"""What C{twistd authotron} understands, and the service it starts."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from authotron.concurrency.pieces import exempt_from_collection
from authotron.config import file
from authotron.config.check import Config
from authotron.daemon import systemd
from authotron.daemon.service import EX_CONFIG, GatewayService
from authotron.daemon.workers.supervisor import Supervisor
from authotron.model.errors import ConfigError
from authotron.telemetry.terminal import visible

Gateway = GatewayService | Supervisor


class Options(usage.Options):
    """The options of C{twistd authotron}."""

    optParameters = [  # noqa: RUF012 - the shape that twistd wants
        ["config", "c", None, "configuration file (default: AOT_CONFIG_PATH, or ./config.yaml)"]
    ]
    optFlags = [["check", None, "check the configuration, say what is wrong, and stop"]]  # noqa: RUF012 - as above
    config: Config

    def load(self) -> Config:
        """
        The configuration as it is now.

        @raise ConfigError: with all that is wrong with it.
        """
        return file.load(self.path(), os.environ)

    def path(self) -> Path:
        return Path(self["config"] or file.path_of(os.environ))

    def postOptions(self) -> None:
        """
        Read the configuration before anything is started.

        @raise SystemExit: it is bad (78), or it was only to be checked (0).
        """
        try:
            self.config = self.load()
        except ConfigError as error:
            raise _refused(error) from None
        if self["check"]:
            raise SystemExit(0)
        if self.parent is not None and not self.parent.get("logger"):
            self.parent["logger"] = "authotron.telemetry.logs.observer"


def makeService(options: Options, reactor: IReactorCore | None = None) -> IService:
    """
    The gateway, ready to be started.

    @raise SystemExit: a file that the configuration names cannot be used (78).
    """
    if reactor is None:
        from twisted.internet import reactor as running  # noqa: PLC0415, TID251 - the one place

        reactor = running
    try:
        several = options.config.file.server.processes > 1
        service = (Supervisor if several else GatewayService)(options.load, options.config, reactor)
    except ConfigError as error:
        raise _refused(error) from None
    _reload_on_hangup(service, reactor)
    _tell_systemd(service, reactor)
    _fail_loudly(service, reactor)
    exempt_from_collection(reactor)
    return service


def _refused(error: ConfigError) -> SystemExit:
    """All that is wrong is said on standard error."""
    for problem in error.problems:
        print(visible(str(problem)), file=sys.stderr)  # noqa: T201 - logging has not begun
    return SystemExit(EX_CONFIG)


def _reload_on_hangup(service: Gateway, reactor: IReactorCore) -> None:
    """Without this SIGHUP kills twistd."""

    def reload() -> None:
        systemd.reloading(os.environ)
        reloading: Deferred[None] = maybeDeferred(service.reload)
        reloading.addCallback(reloaded).addErrback(service.fail)

    def reloaded(_: None) -> None:
        status = "the new configuration was refused" if service.problems else "serving"
        systemd.notify(os.environ, "READY=1", f"STATUS={status}")

    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reload))  # type: ignore[attr-defined] # IReactorFromThreads


def _tell_systemd(service: Gateway, reactor: IReactorCore) -> None:
    """When we serve, that we live, and when we stop."""

    def served(_: None) -> None:
        systemd.notify(os.environ, "READY=1", "STATUS=serving")

    def begin() -> None:
        service.served.addCallback(served).addErrback(_fail_to_tell)
        if (seconds := systemd.watchdog(os.environ)) is not None:
            pulse = LoopingCall(systemd.notify, os.environ, "WATCHDOG=1")
            pulse.start(seconds / 2).addErrback(_fail_to_tell)

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", systemd.notify, os.environ, "STOPPING=1")


def _fail_to_tell(failure: Failure) -> None:
    """Then systemd starts us again."""
    Logger().failure("systemd could not be told that we live", failure)


def _fail_loudly(service: Gateway, reactor: IReactorCore) -> None:
    """Without this twistd exits with 0 after a failure that comes late."""

    def leave() -> None:
        if service.status:
            sys.stdout.flush()
            os._exit(service.status)

    reactor.addSystemEventTrigger("after", "shutdown", leave)
