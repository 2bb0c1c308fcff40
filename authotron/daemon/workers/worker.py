"""A worker process: it runs the gateway, and acts on messages of its supervisor."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from attrs import define
from twisted.application.service import Service
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore, IReactorFDSet, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from authotron.concurrency.garbage import exempt_from_collection
from authotron.concurrency.racing import was_cancelled, with_timeout
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config.check import Config
from authotron.daemon import reload, systemd
from authotron.daemon.event_loop import clock_of
from authotron.daemon.service import GatewayService
from authotron.daemon.workers.accept_gate import AcceptGate
from authotron.daemon.workers.connection_counts import OwnCount
from authotron.daemon.workers.heartbeats import HEARTBEAT
from authotron.daemon.workers.messages import MessageChannel, PeerError
from authotron.daemon.workers.sockets import SharedEndpoint
from authotron.daemon.workers.spawning import (
    HAS_SERVED_VARIABLE,
    PLACE_VARIABLE,
    SOCKETS_VARIABLE,
    Descriptors,
    read_config,
)
from authotron.gateway.gateway import Peers
from authotron.model.errors import EX_CONFIG, ConfigError, Unavailable
from authotron.telemetry import logs
from authotron.web.operations_routes import ProcessStatus

INVALIDATION_TIMEOUT = 40.0
"""
Maximum number of seconds to wait until all other workers have cleared their caches; a worker that
sends no heartbeats is killed sooner.
"""


_POLICIES = "policies", "policy.store.unreachable"
"""
What a new worker reads in the token store, and the name of the log event if the worker cannot read
it.
"""


@define(eq=False)
class OtherWorkers(Peers):
    """The other worker processes of the service, to which the supervisor passes messages."""

    _channel: MessageChannel
    _clock: IReactorTime
    has_served: bool = False

    async def invalidate_others(self, tokens: Sequence[str] | None) -> None:
        await self.ask_others("invalidate", None if tokens is None else list(tokens))

    async def ask_others(self, word: str, content: object) -> None:
        async def confirmed() -> None:
            await self._channel.ask(word, content)

        try:
            await with_timeout(self._clock, INVALIDATION_TIMEOUT, confirmed())
        except PeerError:
            reason = "not all workers have confirmed that they cleared their caches"
            raise Unavailable(reason) from None

    def on_reload_refused(self, problems: Sequence[str]) -> None:
        self._channel.notify("refused", list(problems))

    def notify(self, word: str, content: object) -> None:
        self._channel.notify(word, content)


class Worker(Service):
    """
    Runs the gateway in a worker process, sends heartbeats, and acts on messages of the supervisor.

    @ivar gateway: the gateway of this process.
    @ivar channel: the connection to the supervisor.
    """

    gateway: GatewayService
    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: IGatewayReactor,
        write: Callable[[bytes], object],
        sockets: Sequence[SharedEndpoint] = (),
        *,
        has_served: bool = False,
    ) -> None:
        """
        @param write: a function that sends bytes to the supervisor.
        @param has_served: whether the service has served requests before this worker started.

        @raise ConfigError: the configuration cannot be used any more; perhaps a file is missing.
        """
        self._reactor = reactor
        self._is_ending = False
        self._reading: Deferred[None] | None = None
        self._unread = _POLICIES
        actions = {
            "metrics": lambda _: self._counted(),
            "ready": lambda _: Deferred.fromCoroutine(self._readiness()),
            "invalidate": self._invalidate,
            "records": lambda content: self.gateway.records.received(content),  # noqa: PLW0108 - the gateway is built below
            "drain": lambda _: Deferred.fromCoroutine(self._drain()),
            "wrong_pair": lambda content: self.gateway.rejected_passwords.on_rejected(content),  # noqa: PLW0108 - the gateway is built below
            "right_pair": lambda content: self.gateway.rejected_passwords.on_accepted(content),  # noqa: PLW0108 - the gateway is built below
            "trusted": lambda content: self.gateway.reputations.on_trusted(content),  # noqa: PLW0108 - the gateway is built below
        }
        self.channel = MessageChannel(write, actions, self.supervisor_lost)
        peers = OtherWorkers(self.channel, reactor, has_served)
        self.gateway = GatewayService(lambda: config, config, reactor, sockets, peers)
        self._status = ProcessStatus(self.gateway.serving, reactor)
        self._heartbeat = LoopingCall(self._send_heartbeat)
        self._heartbeat.clock = reactor

    def startService(self) -> None:
        super().startService()
        gateway = self.gateway
        needs = gateway.policies.is_needed or gateway.records.is_needed or gateway.keys.is_needed
        if gateway.has_served and needs:
            self._beat()
            self._reading = Deferred.fromCoroutine(self._serve_informed())
            self._reading.addErrback(self._stop_unserved)
        else:
            self._serve()

    async def _serve_informed(self) -> None:
        """
        Read the signing keys, the policies and the revocations in the token store before this
        worker accepts connections.

        A worker that replaces another worker must know the keys, the policies and the revocations
        before it answers requests, because the replaced worker knew them.
        """
        self._unread = "signing keys", "jwt.keys.unreachable"
        await self.gateway.keys.read()
        self._unread = _POLICIES
        await self.gateway.policies.read()
        self._unread = "revocations", "records.unreachable"
        await self.gateway.records.read()
        self._serve()

    def _stop_unserved(self, failure: Failure) -> None:
        """
        End this worker, because it cannot read signing keys, policies or revocations in the store;
        the supervisor then starts another worker.
        """
        if self._is_ending or was_cancelled(failure):
            return
        if failure.check(ConfigError, Unavailable):
            unread, event = self._unread
            self._log.error(
                "a new worker cannot read the {unread} in the token store, so it ends: {reason}",
                unread=unread,
                reason=str(failure.value),
                event=event,
            )
        else:
            self._log.failure(
                "a new worker failed to start because of an internal error",
                failure,
                event="workers.start.broken",
            )
        self.gateway.status = 1
        self._stop()

    def _serve(self) -> None:
        self.gateway.startService()
        self.channel.notify("serving")
        if not self._heartbeat.running:
            self._beat()

    def _beat(self) -> None:
        self._heartbeat.start(HEARTBEAT).addErrback(self.gateway.fail)

    async def stopService(self) -> None:
        """Let requests in flight finish, then send the supervisor the metrics for the last time."""
        super().stopService()
        if self._reading is not None:
            self._reading.cancel()
        await self.gateway.stopService()
        if self._heartbeat.running:
            self._heartbeat.stop()
        self._send_heartbeat()

    def supervisor_lost(self) -> None:
        """Stop this worker, as without a supervisor no process would watch, stop or replace it."""
        self.channel.lost()
        if self.running and not self._is_ending:
            self._log.error(
                "the supervisor is gone or sends invalid messages, stopping this worker",
                event="workers.abandoned",
            )
            self._stop()

    def _stop(self) -> None:
        """
        Stop the worker process at the next turn of the reactor.

        A second call of this method does nothing; a second call happens if the service stops while
        a reload drains workers.
        """
        if not self._is_ending:
            self._is_ending = True
            self._reactor.callLater(0, _stop, self._reactor)

    def _send_heartbeat(self) -> None:
        self.channel.notify("alive", self._counted())

    def _counted(self) -> dict[str, Any]:
        return self.gateway.serving.metrics.counted()

    async def _readiness(self) -> Mapping[str, Any]:
        return await self._status.readiness()

    def _invalidate(self, tokens: Any) -> None:
        """
        Discard cached decisions of this worker.

        @param tokens: a list of ids of API tokens that were changed; anything else means all API
            tokens.
        """
        is_list = isinstance(tokens, list) and all(isinstance(each, str) for each in tokens)
        self.gateway.serving.gateway.decisions.invalidate(tokens if is_list else None)

    async def _drain(self) -> None:
        """
        Stop listening, and confirm this to the supervisor; exit once all requests are
        finished.
        """
        await self.gateway.close()
        self._stop()


class _SupervisorPipes(Protocol):
    """
    The two pipes between a worker and the supervisor.

    @ivar closed: a Deferred that fires when the supervisor has closed the pipes.
    """

    def __init__(self, make_worker: Callable[[Callable[[bytes], object]], Worker]) -> None:
        """
        @param make_worker: a function that makes the worker, whose argument is a function that
            sends bytes to the supervisor.
        """
        self.closed: Deferred[None] = Deferred()
        self.worker = make_worker(self._send)

    def _send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self.worker.channel.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)
        self.worker.supervisor_lost()


def main() -> None:
    """
    Run a worker process from its start to its end.

    @raise SystemExit: the worker cannot use the configuration that the supervisor has checked (78),
        for example because a file that it names is missing now.
    """
    from twisted.internet import reactor as running  # noqa: PLC0415, TID251 - a process has one reactor

    reactor = cast(IGatewayReactor, running)
    globalLogBeginner.beginLoggingTo([logs.log], redirectStandardIO=False)
    descriptors = Descriptors(tuple(os.environ.pop(SOCKETS_VARIABLE).split(",")))
    config = read_config(descriptors.config)
    has_served = os.environ.pop(HAS_SERVED_VARIABLE, "") == "1"
    place = os.environ.pop(PLACE_VARIABLE, None)
    own = OwnCount.at(None if place is None else int(place), descriptors.counts)
    gate = AcceptGate(own, IReactorFDSet(reactor), clock_of(reactor))
    sockets = [
        SharedEndpoint(reactor, systemd.Endpoint(reactor, descriptor, protocol), gate)
        for descriptor, protocol in zip(descriptors.sockets, descriptors.protocols, strict=True)
    ]
    try:
        pipes = _SupervisorPipes(
            lambda send: Worker(config, reactor, send, sockets, has_served=has_served)
        )
    except ConfigError as error:
        reload.log_refused(Logger(), [str(problem) for problem in error.problems])
        raise SystemExit(EX_CONFIG) from None
    gate.count = pipes.worker.gateway.watch_connections(gate.note_change)
    _run(pipes, descriptors, reactor)
    os._exit(pipes.worker.gateway.status)


def _stop(reactor: IReactorCore) -> None:
    """
    Stop the reactor, unless it is stopping already.

    Both SIGTERM and the supervisor can ask a worker to end, in either order.
    """
    with suppress(ReactorNotRunning):
        reactor.stop()


def _run(pipes: _SupervisorPipes, descriptors: Descriptors, reactor: IGatewayReactor) -> None:
    worker = pipes.worker
    # The type hints of Twisted's StandardIO are right only for Windows.
    connect: Any = stdio.StandardIO
    connect(pipes, stdin=descriptors.input, stdout=descriptors.output, reactor=reactor)
    worker.startService()

    async def stop() -> None:
        await worker.stopService()
        assert pipes.transport is not None
        pipes.transport.loseConnection()
        await pipes.closed

    def handle_signals() -> None:
        # Workers ignore SIGINT and SIGHUP, because the supervisor acts on these signals.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(_stop, reactor))

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    reactor.callWhenRunning(handle_signals)
    exempt_from_collection(reactor)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    reactor.run()
