"""One of several processes that serve: started, watched and ended by a supervisor."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from authotron.concurrency.pieces import exempt_from_collection
from authotron.concurrency.racing import with_timeout
from authotron.daemon import systemd
from authotron.daemon.service import EX_CONFIG, GatewayService
from authotron.daemon.workers.messages import MessageChannel, PeerError
from authotron.daemon.workers.sockets import SharedEndpoint
from authotron.daemon.workers.spawning import (
    _FIRST,
    _PROVEN,
    _VARIABLE,
    Descriptors,
    _read,
)
from authotron.model.errors import ConfigError, Unavailable
from authotron.telemetry import logs
from authotron.web.operations_routes import ProcessStatus

BEAT = 1.0
"""Seconds between two signs of life."""

LONGEST_CHANGE = 40.0
"""Seconds to wait for all others to forget; by then who does not answer has been killed."""


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

    def __init__(
        self, gateway: GatewayService, reactor: Any, write: Callable[[bytes], object]
    ) -> None:
        self._gateway = gateway
        self._reactor = reactor
        self._ending = False
        self._insight = ProcessStatus(gateway.serving, reactor)
        answers = {
            "metrics": lambda _: self._counted(),
            "ready": lambda _: Deferred.fromCoroutine(self._readiness()),
            "forget": self._forget,
            "drain": lambda _: Deferred.fromCoroutine(self._drain()),
            "wrong_pair": gateway.wrong_pairs.hear_wrong,
            "right_pair": gateway.wrong_pairs.hear_right,
            "trusted": gateway.standings.hear,
        }
        self.pipe = MessageChannel(write, answers, self.abandoned)
        gateway.wrong_pairs.tell = self.pipe.tell
        gateway.standings.tell = partial(self.pipe.tell, "trusted")
        self._beating = LoopingCall(self._beat)
        self._beating.clock = reactor
        gateway.serving.invalidate_others = self._invalidate_others
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
        self._gateway.serving.gateway.decisions.invalidate(tokens if known else None)

    async def _invalidate_others(self, tokens: Sequence[str] | None = None) -> None:
        """
        Void what the other workers remember that depends on these API tokens, or all of it.

        @raise Unavailable: it is not certain that they have.
        """

        async def forgotten() -> None:
            await self.pipe.ask("forget", None if tokens is None else list(tokens))

        try:
            await with_timeout(self._reactor, LONGEST_CHANGE, forgotten())
        except PeerError:
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
        SharedEndpoint(reactor, systemd.Endpoint(reactor, descriptor))
        for descriptor in range(_FIRST, given.hears)
    ]
    try:
        gateway = GatewayService(lambda: config, config, reactor, sockets)
        gateway.proven = os.environ.pop(_PROVEN, "") == "1"
    except ConfigError as error:
        for problem in error.problems:
            Logger().error("{problem}", problem=str(problem), event="startup.config.refused")
        raise SystemExit(EX_CONFIG) from None
    _run(gateway, given, reactor)
    os._exit(gateway.status)


def _run(gateway: GatewayService, given: Descriptors, reactor: Any) -> None:
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
