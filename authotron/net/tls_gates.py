"""Gates before the protocols of TLS clients: nothing is sent until the peer is verified."""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.concurrency.waiters import Waiters
from authotron.net.certificates import Untrusted
from authotron.net.tls import Handshake, Verifier


def secured(
    verifier: Verifier, endpoint: IStreamClientEndpoint, host: str, clock: IReactorTime
) -> IStreamClientEndpoint:
    """Wrap an endpoint in TLS, so that protocols are connected once the peer is verified."""
    return _Secured(verifier, endpoint, host, clock)


@implementer(IStreamClientEndpoint)
@frozen
class _Secured:
    """Connects protocols to a peer that was verified."""

    _verifier: Verifier
    _endpoint: IStreamClientEndpoint
    _host: str
    _clock: IReactorTime

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - as in the interface
        """The interface of L{IStreamClientEndpoint}; it fails with L{Untrusted}, too."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        handshake = self._verifier.handshake(self._host)
        encrypted = wrapClientTLS(handshake, self._endpoint, self._clock)
        gate: Any = await encrypted.connect(_TlsGates(factory, handshake))
        opened: IProtocol = await gate.opened
        return opened


@define(eq=False)
class _TlsGates(Factory):
    """Puts a L{TlsGate} before each protocol of a factory."""

    noisy = False
    _factory: IProtocolFactory
    _handshake: Handshake

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> TlsGate | None:
        protocol = self._factory.buildProtocol(addr)  # type: ignore[arg-type] # as Twisted gives it
        return None if protocol is None else TlsGate(protocol, self._handshake)


@implementer(IHandshakeListener)
class TlsGate(Protocol):
    """
    Stands in the place of a protocol until the peer is verified.

    Until then the protocol has no transport, so that it cannot send anything.

    @ivar opened: fires with the protocol once it is connected; fails with L{Untrusted}, or with
        what ended the connection.
    """

    transport: Any

    def __init__(self, protocol: IProtocol, handshake: Handshake) -> None:
        self._protocol = protocol
        self._handshake = handshake
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self.transport.abortConnection())

    def handshakeCompleted(self) -> None:
        """Let the protocol in, or hang up."""
        try:
            self._handshake.finish()
        except Untrusted:
            self.transport.abortConnection()
            return
        if not self.opened.called:
            self.transport.wrappedProtocol = self._protocol
            self._protocol.makeConnection(self.transport)
            self.opened.callback(self._protocol)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.opened.called:
            self.opened.errback(self.failure(reason))

    def failure(self, reason: Failure) -> Failure:
        """Say what the end of the connection means: a peer that is not believed, or a lost one."""
        if self._handshake.refusal is not None or isinstance(reason.value, SSL.Error):
            return Failure(Untrusted(self._handshake.why(reason)))
        return reason


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class GatedConnections:
    """
    Puts a L{TlsGate} before each protocol of a library that begins TLS itself.

    A protocol whose peer is refused is never connected; its factory sees the connection end.

    @ivar refusal: why the last peer was not believed; C{None} once one was.
    """

    _verifier: Verifier
    _host: str
    refusal: Untrusted | None = field(default=None, init=False)
    _waiting: Waiters[None] = field(factory=Waiters, init=False)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """The interface of L{IOpenSSLClientConnectionCreator}."""
        handshake = self._verifier.handshake(self._host)
        connection = handshake.clientConnectionForTLS(protocol)
        gate = TlsGate(protocol.wrappedProtocol, handshake)
        gate.opened.addCallbacks(self._opened, self._refused)
        protocol.wrappedProtocol = gate
        return connection

    async def settled(self) -> None:
        """
        Wait until a peer is believed or refused.

        @raise Untrusted: it is refused.
        """
        await self._waiting.join()

    def demand(self) -> None:
        """
        Check that the peer is believed, before a question is sent to it.

        @raise Untrusted: it is not; the message says why.
        """
        if self.refusal is not None:
            raise Untrusted(str(self.refusal))

    def _opened(self, _: object) -> None:
        self.refusal = None
        self._waiting.succeed(None)

    def _refused(self, failure: Failure) -> None:
        if isinstance(failure.value, Untrusted):
            self.refusal = failure.value
            self._waiting.fail(Untrusted(str(failure.value)))
