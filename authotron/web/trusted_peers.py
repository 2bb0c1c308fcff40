"""Connections by protocols that only trusted proxies may use, such as FastCGI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from authotron.gateway.gateway import LiveGateway
from authotron.web.connections import ConnectionLimit, OpenConnections
from authotron.web.replies import Reply

_WARNING_INTERVAL = 60.0
"""Minimum seconds between two warnings about connections of untrusted peers."""


class Unread(Protocol):
    """The protocol of a connection that is closed before a byte of it is read."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        self.transport.abortConnection()


class PeerConnection(Protocol):
    """
    A connection of a trusted proxy, which the factory drains.

    @ivar on_lost: the function to call with the connection when it is lost.
    """

    on_lost: Callable[[PeerConnection], None]

    def close_when_idle(self) -> None:
        """Close the connection as soon as all requests that have begun to arrive are answered."""
        raise NotImplementedError


@implementer(IProtocolNegotiationFactory)
class TrustedPeersFactory(Factory):
    """
    Serves the connections of trusted proxies by one protocol, and closes those of other peers
    unread.

    Connections above the limit of the main port, which all protocols share, are closed unread, too.

    @ivar protocol_name: the name of the protocol, as in C{server.listen}.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        protocol_name: str,
        build: Callable[[IAddress], PeerConnection],
        serving: LiveGateway[Reply],
        clock: IReactorTime,
        limit: ConnectionLimit,
        alpn: Sequence[bytes] = (),
    ) -> None:
        """
        @param build: a function that builds the protocol of a connection.
        @param limit: the limit of connections to the main port.
        @param alpn: the names of the protocol for TLS (ALPN), if it has any.
        """
        self.protocol_name = protocol_name
        self._build = build
        self._serving = serving
        self._clock = clock
        self._limit = limit
        self._alpn = alpn
        self._open = OpenConnections()
        limit.connections += (self._open,)
        self._last_warning: float | None = None
        serving.metrics.expect_protocol(protocol_name)

    def buildProtocol(self, addr: Any) -> PeerConnection | Unread:
        # The address of a UNIX socket has no host.
        peer: str | None = getattr(addr, "host", None)
        if not self._serving.gateway.contracts.proxies.is_proxy(peer):
            self._reject(peer)
            return Unread()
        if self._limit.is_full():
            return Unread()
        connection = self._build(addr)
        connection.on_lost = self._open.discard
        self._open.add(connection)
        return connection

    def acceptableProtocols(self) -> list[bytes]:
        """
        Return the names of the protocol for TLS (ALPN); if there are none, TLS
        negotiates nothing.
        """
        return [*self._alpn]

    def _reject(self, peer: str | None) -> None:
        """Count a connection of an untrusted peer, and log it once a minute at most."""
        self._serving.metrics.untrusted_connection(self.protocol_name)
        now = self._clock.seconds()
        if self._last_warning is None or now - self._last_warning >= _WARNING_INTERVAL:
            self._last_warning = now
            self._log.warn(
                "{protocol} connection from {peer} closed unread: the peer is not in "
                "server.trusted_proxies",
                protocol=self.protocol_name,
                peer=peer or "a UNIX socket",
                event="routes.connections.untrusted",
            )

    def drain(self) -> Deferred[None]:
        """
        Close every connection once its requests are answered; the Deferred fires when all are
        closed.
        """
        return self._open.drain()
