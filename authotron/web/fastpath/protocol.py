"""
The entrance of the main port: verdicts straight from the bytes, all else to the site.

A connection stays here as long as it sends nothing but simple requests for a verdict, one at a
time. The first byte that is anything else, and all that follow it, belong to the site's channel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from socket import socket
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IAddress,
    IProtocolNegotiationFactory,
    IPushProducer,
    IReactorTime,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.concurrency.reactor_time import LONGEST
from authotron.gateway.authorization import Deny, authorize
from authotron.gateway.gateway import LiveGateway
from authotron.gateway.outcomes import Decision
from authotron.model.identity import Client
from authotron.web.channel import LAST_CALL
from authotron.web.connections import ConnectionLimit, OpenConnections, Overloaded
from authotron.web.fastpath import request
from authotron.web.fastpath.context import HeadContext
from authotron.web.fastpath.request import Head
from authotron.web.fastpath.response import ReplyEncoder
from authotron.web.replies import Reply, denied
from authotron.web.site import Site

T = TypeVar("T")

_TURNS = 8
"""Requests that a connection may ask of the site before it is closed, so that a proxy's pool comes
back to the front."""


@implementer(IPushProducer)
class FastPath(Protocol, TimeoutMixin):
    """One connection, until it asks for something else."""

    transport: Any  # a TCP or UNIX connection, with all that these can do
    callLater: Any
    _log = Logger()

    def __init__(self, address: IAddress, entrance: FastPathFactory) -> None:
        self._address = address
        self._peer: str | None = getattr(address, "host", None)  # a UNIX socket has no host
        self._context = HeadContext(entrance.serving, self._peer)
        self._entrance = entrance
        self._bytes = b""
        self._pending: Deferred[None] | None = None
        self._closing = False
        self._leaving = False
        self._socket: socket | None = None
        self.callLater = entrance.site.reactor.callLater

    # --- the connection ---

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        if ISystemHandle.providedBy(self.transport):
            handle = self.transport.getHandle()  # under TLS it is no socket
            self._socket = handle if isinstance(handle, socket) else None
        self.transport.registerProducer(self, True)
        self.setTimeout(self._entrance.site.timeOut)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        self._socket = None
        self._entrance.lost(self)
        if self._pending is not None:
            self._pending.cancel()

    def timeoutConnection(self) -> None:
        """Nothing came for long: say goodbye; to whom does not even take that, hang up."""
        if self._closing:
            self.transport.abortConnection()
        else:
            self._close()

    def dataReceived(self, data: bytes) -> None:
        self._bytes += data
        if self._closing:
            self._bytes = b""
        elif self._pending is None:
            self._advance()
        elif len(self._bytes) > self._entrance.longest:
            # While an answer is awaited reading goes on, for only so the end of the connection is
            # noticed; but not without bound.
            self.transport.pauseProducing()

    def close_when_idle(self) -> None:
        """
        Close the connection as soon as what was begun on it is answered.

        Where nothing was begun a request may be on its way, so it is waited for, but only just.
        """
        if self._pending is None:
            self._leaving = True
            self.setTimeout(LAST_CALL)
        else:
            self._closing = True

    # --- one request after the other ---

    def _advance(self) -> None:
        head = request.simple(self._bytes, self._entrance.longest)
        if head is not None:
            self._decide(head)
        elif not request.may_become_simple(self._bytes, self._entrance.longest):
            self._hand_over()
        # else wait; the deadline stays: what trickles in has no more time than silence has

    def _decide(self, head: Head) -> None:
        entrance = self._entrance
        began = entrance.clock.seconds()
        decision = entrance.serving.gateway.decisions.decide(head.presented, self._client)
        if isinstance(decision, Decision):
            self._decided(decision, head, began)
        else:
            entrance.site.meter(head.route).note(entrance.clock.seconds() - began)
            self._wait(head, began, decision)

    def _client(self) -> Client:
        """What finds out the address of the client whose head was just read."""
        forwarding = self._entrance.serving.gateway.forwarding
        return partial(forwarding.client, self._peer, partial(request.values, self._bytes))

    def _wait(self, head: Head, began: float, decision: Deferred[Decision[Reply]]) -> None:
        patience = self.setTimeout(None)
        asked, self._bytes = self._bytes, b""

        def decided(decision: Decision[Reply]) -> None:
            self._pending = None
            self.setTimeout(patience)
            later, self._bytes = self._bytes, asked
            self._decided(decision, head, began, waited=True)
            if not self._closing:
                self.transport.resumeProducing()
                self.dataReceived(later)

        metrics = self._entrance.serving.metrics
        metrics.request_started(head.method)
        decision.addBoth(_passed(metrics.request_ended, head.method))
        self._pending = decision.addCallback(decided)
        self._pending.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self._pending.addErrback(self._broken)

    def _decided(
        self, decision: Decision[Reply], head: Head, began: float, *, waited: bool = False
    ) -> None:
        entrance, outcome, reply = self._entrance, decision.outcome, decision.reply
        found = outcome.authentication
        if found is not None and found.conditions:
            self._context.head = self._bytes
            try:
                ruling = authorize(found, self._context)
            except Exception:  # noqa: BLE001 - a defect of a condition: the site answers and logs it
                self._hand_over()
                return
            if isinstance(ruling, Deny):
                reply = denied(ruling)
        self._bytes = b""
        if self._closing or self._leaving:
            head = head._replace(persistent=False)
        self._send(entrance.wording.of(head, reply))
        seconds = entrance.clock.seconds() - began
        entrance.serving.metrics.request_authenticated(outcome.result, outcome.realm, seconds)
        entrance.site.answered(
            head.method, head.route, reply.status, seconds, outcome, self._address, head.request_id
        )
        if seconds > LONGEST and not waited:  # a request that waited was timed step by step
            entrance.site.meter(head.route).note(seconds)
        if not head.persistent:
            self._close()
        else:
            self.resetTimeout()

    def _send(self, reply: bytes) -> None:
        """
        Give the reply to the kernel at once: that spares a turn of the reactor.

        What the kernel does not take goes to the transport, and so does everything after it:
        nothing ever overtakes.
        """
        sent = 0
        if self._socket is not None:
            try:
                sent = self._socket.send(reply)
            except OSError:
                sent = 0  # the transport will meet the same error, and say so in the usual way
            if sent == len(reply):
                return
            self._socket = None
        self.transport.write(reply[sent:])

    def _broken(self, failure: Failure) -> None:
        self._log.failure("a request could not be answered", failure, event="routes.request.broken")
        self.transport.abortConnection()

    def _close(self) -> None:
        self._closing = True
        self.setTimeout(self._entrance.grace)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _hand_over(self) -> None:
        """For good: from here on this object only passes on."""
        self.setTimeout(None)
        self.transport.unregisterProducer()
        channel = self._entrance.site.build_channel(self._address)
        channel.turns = _TURNS
        self.dataReceived = channel.dataReceived  # type: ignore[method-assign] # for good
        self.connectionLost = channel.connectionLost  # type: ignore[method-assign] # for good
        channel.makeConnection(self.transport)
        received, self._bytes = self._bytes, b""
        try:
            channel.dataReceived(received)
        finally:  # not before: the site must know what was asked when it is told to close
            self._entrance.handed_over(self)

    # --- a client that asks but does not read its answers is not read either ---

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is gone; L{connectionLost} follows."""


def _passed(told: Callable[[str], None], method: str) -> Callable[[T], T]:
    """What tells somebody on its way through, and changes nothing."""

    def through(result: T) -> T:
        told(method)
        return result

    return through


@implementer(IProtocolNegotiationFactory)
class FastPathFactory(Factory):
    """
    Puts a L{FastPath} before every connection of a site, of which there may be so many.

    @ivar longest: bytes that a simple head may have; never more than the site allows.
    """

    noisy = False
    grace = 15.0

    def __init__(
        self, site: Site, serving: LiveGateway[Reply], clock: IReactorTime, most: int
    ) -> None:
        self.site = site
        self.serving = serving
        self.clock = clock
        self.longest = min(request.LONGEST, site.limit)
        self.wording = ReplyEncoder(clock)
        self._open = OpenConnections()
        self._connection_limit = ConnectionLimit(
            clock, serving.metrics, most, (self._open, site.open)
        )

    def doStart(self) -> None:
        super().doStart()
        self.site.doStart()

    def doStop(self) -> None:
        self.site.doStop()
        super().doStop()

    def buildProtocol(self, addr: Any) -> FastPath | Overloaded:
        if self._connection_limit.is_full():
            return Overloaded()
        front = FastPath(addr, self)
        self._open.add(front)
        return front

    def acceptableProtocols(self) -> list[bytes]:
        """Without an answer Twisted breaks off every TLS handshake that offers protocols."""
        return [b"http/1.1"]

    def limit_connections(self, most: int) -> None:
        """Reject connections above C{most} from now on."""
        self._connection_limit.most = most

    def handed_over(self, front: FastPath) -> None:
        """The site has it now."""
        self.serving.metrics.fast_path_left()
        self.lost(front)

    def lost(self, front: FastPath) -> None:
        """A connection is closed, or somebody else's."""
        self._open.discard(front)

    def drain(self) -> Deferred[None]:
        """Close connections as soon as nothing is in flight on them; fires when none is left."""
        return self._open.drain().addCallback(lambda _: self.site.drain())
