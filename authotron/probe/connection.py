"""
Send the bytes of a request to a proxy, and collect the bytes that come back, within limits of time
and size.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from authotron.concurrency.reactor import IGatewayReactor
from authotron.net.certificates import Untrusted
from authotron.net.tls import Handshake, Verifier
from authotron.probe import answers
from authotron.probe.answers import Answer

LARGEST = 1_048_576
"""Maximum number of bytes of the answers on one connection; further bytes are not read."""

_CONNECTING = 5.0
_LINGERING = 0.3
"""Number of seconds for which a connection is watched for a second answer, if there may be one."""


class Unreachable(Exception):
    """The proxy cannot be connected to, or is not the host that its certificate must name."""


@frozen
class Patience:
    """
    The number of seconds that an exchange with the proxy may take.

    @ivar whole: the number of seconds for an ordinary request.
    @ivar odd: the number of seconds for a request whose end the proxy may not see, so that it waits
        for more bytes.
    """

    whole: float = 10.0
    odd: float = 1.0


@frozen
class Received:
    """
    The bytes that came back on a connection.

    @ivar ended: whether the proxy closed the connection.
    """

    data: bytes
    ended: bool


@define(eq=False)
class Connector:
    """
    Opens connections to the proxy.

    @ivar address: an IP address, so that no name is looked up between the check that the address is
        a loopback address and the attacks.
    @ivar name: the host of the URL, which the certificate of the proxy must name.
    @ivar verifier: verifies the certificate of the proxy; with C{None} the connection does not use
        TLS.
    """

    reactor: IGatewayReactor
    address: str
    port: int
    name: str
    verifier: Verifier | None = None
    patience: Patience = field(factory=Patience)

    async def exchange(self, data: bytes, method: bytes, *, lingers: bool) -> Received:
        """
        Send bytes on a new connection, and return the bytes that came back.

        @param lingers: whether more than one answer may come, or none at all.
        @raise Unreachable: no connection can be opened.
        """
        handshake = self.verifier.handshake(self.name) if self.verifier else None
        endpoint = self._endpoint(handshake)
        seconds = self.patience.odd if lingers else self.patience.whole
        sending = _Sending(self.reactor, data, method, seconds, handshake, lingers=lingers)
        try:
            await endpoint.connect(Factory.forProtocol(lambda: sending))
        except ConnectError as error:
            raise Unreachable(str(error)) from None
        try:
            return await sending.received
        except Untrusted as error:
            raise Unreachable(str(error)) from None

    def _endpoint(self, handshake: Handshake | None) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if ":" in self.address else TCP4ClientEndpoint
        plain = kind(self.reactor, self.address, self.port, timeout=_CONNECTING)
        return wrapClientTLS(handshake, plain) if handshake else plain


@implementer(IHandshakeListener)
class _Sending(Protocol):
    """
    One connection to the proxy: sends its bytes, and collects bytes until the answer is complete,
    the connection ends, or a limit of size or time is reached.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        data: bytes,
        method: bytes,
        seconds: float,
        handshake: Handshake | None,
        *,
        lingers: bool,
    ) -> None:
        self.received: Deferred[Received] = Deferred(lambda _: self._abort())
        self._clock, self._data, self._method = clock, data, method
        self._seconds, self._handshake, self._lingers = seconds, handshake, lingers
        self._collected = b""
        self._is_done = False
        self._timeout: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._timeout = self._clock.callLater(self._seconds, self._finish)
        if self._handshake is None:
            self.transport.write(self._data)

    def handshakeCompleted(self) -> None:
        """
        Send the request, which contains its credential, to the proxy whose
        certificate is verified.
        """
        try:
            if self._handshake is not None:
                self._handshake.finish()
        except Untrusted as error:
            self._finish(error=error)
        else:
            self.transport.write(self._data)

    def dataReceived(self, data: bytes) -> None:
        self._collected += data
        if len(self._collected) > LARGEST:
            self._finish()
        elif (last := self._last_answer()) is not None:
            if self._lingers and self._timeout is not None and not last.is_last:
                self._timeout.reset(_LINGERING)
            else:
                self._finish()

    def connectionLost(self, reason: Any = None) -> None:
        refusal = self._handshake.refusal if self._handshake else None
        self._finish(ended=True, error=refusal)

    def _last_answer(self) -> Answer | None:
        """Return the last answer if it is complete."""
        found = answers.parse(self._collected, self._method, ended=False)
        return found[-1] if found and found[-1].complete else None

    def _finish(self, *, ended: bool = False, error: Exception | None = None) -> None:
        if self._is_done:
            return
        self._abort()
        if error is not None:
            self.received.errback(error)
        else:
            self.received.callback(Received(self._collected[:LARGEST], ended))

    def _abort(self) -> None:
        self._is_done = True
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
        if self.transport is not None:
            self.transport.abortConnection()
