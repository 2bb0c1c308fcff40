"""One of several processes that serve: started, watched and ended by a supervisor."""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from authotron.concurrency.pieces import exempt_from_collection
from authotron.concurrency.racing import within
from authotron.config.check import Config
from authotron.daemon import systemd
from authotron.daemon.service import EX_CONFIG, Authotron
from authotron.daemon.workers.messages import Pipe, Unanswered
from authotron.daemon.workers.sockets import Shared
from authotron.model.errors import ConfigError, Unavailable
from authotron.telemetry import logs
from authotron.web.operations_routes import Own

BEAT = 1.0
"""Seconds between two signs of life."""

LONGEST_CHANGE = 40.0
"""Seconds to wait for all others to forget; by then who does not answer has been killed."""

_VARIABLE, _PROVEN = "AUTHOTRON_WORKER", "AUTHOTRON_PROVEN"
_FIRST = 3
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_OF_OTHERS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS")


@frozen
class Descriptors:
    """
    Which descriptors a worker is given: the sockets, two ends of pipes, the configuration.

    The configuration comes from the supervisor and not from its file, so that a worker that is
    started anew serves what the others do, whatever the file says meanwhile.
    """

    sockets: int

    @property
    def hears(self) -> int:
        return _FIRST + self.sockets

    @property
    def says(self) -> int:
        return self.hears + 1

    @property
    def configuration(self) -> int:
        return self.hears + 2

    def filled(self, sockets: Sequence[int], configuration: int) -> dict[int, int | str]:
        """What is to be in their places, as C{spawnProcess} wants to know it."""
        kept: dict[int, int | str] = {0: 0, 1: 1, 2: 2}
        given = dict(enumerate(sockets, _FIRST))
        return {**kept, **given, self.hears: "w", self.says: "r", self.configuration: configuration}


def command() -> list[str]:
    """What starts a worker with this very program, wherever it was installed."""
    switches = {"-I": sys.flags.isolated, "-S": sys.flags.no_site, "-B": sys.dont_write_bytecode}
    code = f"import sys; sys.path[:] = {sys.path!r}; from authotron.daemon.workers.worker import main; main()"
    return [sys.executable, *(switch for switch, on in switches.items() if on), "-c", code]


def environment(
    sockets: int, environ: Mapping[str, str], *, proven: bool = False
) -> dict[str, str]:
    """
    That of the supervisor, without what systemd says to it alone.

    @param proven: the service is up: a worker goes on without a store that must not be used, as
        the only process does after a reload.
    """
    kept = {name: value for name, value in environ.items() if name not in _OF_OTHERS}
    return {**kept, _VARIABLE: str(sockets), **({_PROVEN: "1"} if proven else {})}


def sealed(config: Config) -> int:
    """
    A descriptor of a file in memory that holds a configuration, with its secrets.

    Its warnings are not in it: the supervisor has told them. Who gets the descriptor can write as
    well as read, so it is sealed: no worker changes what the next one trusts.
    """
    descriptor = os.memfd_create("authotron", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            pickle.dump(evolve(config, warnings=()), file)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read(descriptor: int) -> Config:
    """The configuration that the supervisor keeps."""
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)  # others read it as well
    os.close(descriptor)
    config: Config = pickle.loads(content)  # noqa: S301 - of the process that started this one
    return config


class _Ends(Protocol):
    """The two pipes to the supervisor."""

    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred()
        self._worker: Worker | None = None

    def heard_by(self, worker: Worker) -> None:
        self._worker = worker

    def dataReceived(self, data: bytes) -> None:
        assert self._worker is not None
        self._worker.pipe.received(data)

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)
        assert self._worker is not None
        self._worker.abandoned()


class Worker(Service):
    """Serves, gives signs of life, and does what the supervisor wants."""

    _log = Logger()

    def __init__(self, gateway: Authotron, reactor: Any, write: Callable[[bytes], object]) -> None:
        self._gateway = gateway
        self._reactor = reactor
        self._ending = False
        self._insight = Own(gateway.serving, reactor)
        answers = {
            "metrics": lambda _: self._counted(),
            "ready": lambda _: Deferred.fromCoroutine(self._readiness()),
            "forget": self._forget,
            "drain": lambda _: Deferred.fromCoroutine(self._drain()),
            "wrong_pair": gateway.wrong_pairs.hear_wrong,
            "right_pair": gateway.wrong_pairs.hear_right,
            "trusted": gateway.standings.hear,
        }
        self.pipe = Pipe(write, answers, self.abandoned)
        gateway.wrong_pairs.tell = self.pipe.tell
        gateway.standings.tell = partial(self.pipe.tell, "trusted")
        self._beating = LoopingCall(self._beat)
        self._beating.clock = reactor
        gateway.serving.forget_elsewhere = self._forget_elsewhere
        gateway.refused = self._refused

    def startService(self) -> None:
        super().startService()
        self._gateway.startService()
        self.pipe.tell("serving")
        self._beating.start(BEAT).addErrback(self._gateway.fail)

    async def stopService(self) -> None:
        """Let those in flight finish, then say what was counted, for the last time."""
        super().stopService()
        await self._gateway.stopService()
        if self._beating.running:
            self._beating.stop()
        self.pipe.tell("alive", self._counted())

    def abandoned(self) -> None:
        """The supervisor is gone, or makes no sense: nobody would start, stop or count us."""
        self.pipe.lost()
        if self.running:
            self._log.error("the supervisor is gone", event="workers.abandoned")
            self._stop()

    def _stop(self) -> None:
        """It may be asked for twice: one that is being replaced when the service is stopped."""
        if not self._ending:
            self._ending = True
            self._reactor.callLater(0, self._reactor.stop)

    def _beat(self) -> None:
        self.pipe.tell("alive", self._counted())

    def _counted(self) -> dict[str, Any]:
        return self._gateway.serving.metrics.counted()

    async def _readiness(self) -> Mapping[str, Any]:
        return await self._insight.readiness()

    def _refused(self) -> None:
        """It is for the supervisor to count: all others have the same configuration."""
        self.pipe.tell("refused", list(self._gateway.problems))

    def _forget(self, tokens: Any) -> None:
        """Void what depends on these API tokens; all that is remembered if there is no list."""
        known = isinstance(tokens, list) and all(isinstance(each, str) for each in tokens)
        self._gateway.serving.generation.verdicts.forget(tokens if known else None)

    async def _forget_elsewhere(self, tokens: Sequence[str] | None = None) -> None:
        """
        Void what the other workers remember that depends on these API tokens, or all of it.

        @raise Unavailable: it is not certain that they have.
        """

        async def forgotten() -> None:
            await self.pipe.ask("forget", None if tokens is None else list(tokens))

        try:
            await within(self._reactor, LONGEST_CHANGE, forgotten())
        except Unanswered:
            raise Unavailable("not all workers have forgotten") from None

    async def _drain(self) -> None:
        """Listen no more, which is the answer; end when nothing is in flight."""
        await self._gateway.close()
        self.running = False
        self._stop()


def main() -> None:
    """
    A worker, from its start to its end.

    @raise SystemExit: the configuration cannot be used any more (78), such as for a missing file.
    """
    from twisted.internet import reactor as running  # noqa: PLC0415, TID251 - a process has one

    reactor: Any = running
    globalLogBeginner.beginLoggingTo([logs.log], redirectStandardIO=False)
    given = Descriptors(int(os.environ.pop(_VARIABLE)))
    config = _read(given.configuration)
    sockets = [
        Shared(reactor, systemd.Endpoint(reactor, descriptor))
        for descriptor in range(_FIRST, given.hears)
    ]
    try:
        gateway = Authotron(lambda: config, config, reactor, sockets)
        gateway.proven = os.environ.pop(_PROVEN, "") == "1"
    except ConfigError as error:
        for problem in error.problems:
            Logger().error("{problem}", problem=str(problem), event="startup.config.refused")
        raise SystemExit(EX_CONFIG) from None
    _run(gateway, given, reactor)
    os._exit(gateway.status)


def _run(gateway: Authotron, given: Descriptors, reactor: Any) -> None:
    ends = _Ends()
    worker = Worker(gateway, reactor, ends.send)
    ends.heard_by(worker)
    connected: Any = stdio.StandardIO  # typed as that of another system
    connected(ends, stdin=given.hears, stdout=given.says, reactor=reactor)
    worker.startService()

    async def stop() -> None:
        await worker.stopService()
        assert ends.transport is not None
        ends.transport.loseConnection()
        await ends.closed

    def begun() -> None:
        for number in (signal.SIGINT, signal.SIGHUP):  # they are the supervisor's
            signal.signal(number, signal.SIG_IGN)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    reactor.callWhenRunning(begun)
    exempt_from_collection(reactor)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    reactor.run()
