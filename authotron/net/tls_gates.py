"""Let TLS client protocols send nothing until the certificate of the server is verified."""

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


def wrap_tls(
    verifier: Verifier, endpoint: IStreamClientEndpoint, host: str, clock: IReactorTime
) -> IStreamClientEndpoint:
    """
    Wrap an endpoint in TLS; a protocol is connected only after the certificate of the server is
    verified.
    """
    return _Secured(verifier, endpoint, host, clock)


@implementer(IStreamClientEndpoint)
@frozen
class _Secured:
    """A TLS endpoint that connects protocols only to servers whose certificate is verified."""

    _verifier: Verifier
    _endpoint: IStreamClientEndpoint
    _host: str
    _clock: IReactorTime

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's interface gives the argument this name
        """Implement L{IStreamClientEndpoint.connect}; the Deferred may fail with L{Untrusted}."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        handshake = self._verifier.handshake(self._host)
        encrypted = wrapClientTLS(handshake, self._endpoint, self._clock)
        gate: Any = await encrypted.connect(_TlsGates(factory, handshake))
        opened: IProtocol = await gate.opened
        return opened


@define(eq=False)
class _TlsGates(Factory):
    """A factory that wraps each protocol of another factory in a L{TlsGate}."""

    noisy = False
    _factory: IProtocolFactory
    _handshake: Handshake

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> TlsGate | None:
        protocol = self._factory.buildProtocol(addr)  # type: ignore[arg-type] # Twisted passes an address of C{None}
        return None if protocol is None else TlsGate(protocol, self._handshake)


@implementer(IHandshakeListener)
class TlsGate(Protocol):
    """
    Takes the place of a protocol until the certificate of the server is verified.

    Before the verification of the server the protocol does not have a transport, so it cannot send
    anything.

    @ivar opened: a Deferred that fires with the protocol once it is connected, and fails with
        L{Untrusted} or with the reason why the connection was lost.
    """

    transport: Any

    def __init__(self, protocol: IProtocol, handshake: Handshake) -> None:
        self._protocol = protocol
        self._handshake = handshake
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self.transport.abortConnection())

    def handshakeCompleted(self) -> None:
        """Connect the protocol if the server is verified, or else abort the connection."""
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
        """
        Return the failure of a lost connection, which is L{Untrusted} if the server was not
        verified.
        """
        if self._handshake.refusal is not None or isinstance(reason.value, SSL.Error):
            return Failure(Untrusted(self._handshake.describe_end(reason)))
        return reason


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class GatedConnections:
    """
    Wraps each protocol of a library that starts TLS itself in a L{TlsGate}.

    A protocol is never connected to a server that is not verified; its factory is notified that the
    connection was lost.

    @ivar refusal: why the last server was not trusted, or C{None} once a server was trusted.
    """

    _verifier: Verifier
    _host: str
    refusal: Untrusted | None = field(default=None, init=False)
    _waiting: Waiters[None] = field(factory=Waiters, init=False)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Implement L{IOpenSSLClientConnectionCreator.clientConnectionForTLS}."""
        handshake = self._verifier.handshake(self._host)
        connection = handshake.clientConnectionForTLS(protocol)
        gate = TlsGate(protocol.wrappedProtocol, handshake)
        gate.opened.addCallbacks(self._opened, self._refused)
        protocol.wrappedProtocol = gate
        return connection

    async def wait_for_peer(self) -> None:
        """
        Wait until a server is trusted or rejected.

        @raise Untrusted: the certificate of the server is rejected.
        """
        await self._waiting.join()

    def check_peer(self) -> None:
        """
        Check that the server of the latest TLS handshake was trusted, before a request is sent to
        this server.

        @raise Untrusted: the last server was not trusted; the message gives the reason.
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
