"""Connections that uvloop reads and writes, as transports for protocols of Twisted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from socket import NI_NUMERICHOST, NI_NUMERICSERV, SO_KEEPALIVE, SO_LINGER, SOL_SOCKET, getnameinfo
from struct import pack
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProtocolFactory,
    IPushProducer,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_DONE = Failure(ConnectionDone())
_LOST = Failure(ConnectionLost())
_ABORTED = Failure(ConnectionAborted())

_RESET = pack("ii", 1, 0)
"""
The value of the socket option SO_LINGER with which closing a connection makes the kernel send a
reset (socket(7)).
"""

_SIZE_OF_IPV4 = 2
"""Number of values in the address of an IPv4 socket; the address of an IPv6 socket has four."""


@implementer(ITCPTransport, IConsumer, IPushProducer)
class Wire(asyncio.Protocol):
    """
    A connection of a client: a protocol for the event loop, and a transport for Twisted.

    A L{Wire} behaves as a TCP or UNIX transport of Twisted, with these exceptions: it takes no
    producers that have to be asked for each piece; it does not tell protocols that the client has
    closed one direction only (C{IHalfCloseableProtocol}), but ends the connection, as Twisted does
    for all other protocols; and after L{loseWriteConnection} it sends nothing that is written
    later.

    @ivar disconnecting: whether the connection will be closed as soon as all bytes are sent.
    """

    disconnecting = False
    _log = Logger()

    def __init__(self, factory: IProtocolFactory) -> None:
        """@param factory: builds the protocol that the connection is for."""
        self._factory = factory
        self._transport: Any = None
        self._protocol: Any = None
        self._producer: Any = None
        self._is_full = False
        self._reason: Failure | None = None
        self._peer: IAddress | None = None

    # --- asyncio.Protocol: what the event loop reports ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        # Protocols call the method of the event loop directly, which saves a Python call each time.
        self.write = self._transport.write  # type: ignore[method-assign] # saves a Python call
        try:
            self._connect(transport.get_extra_info("peername"))
        except Exception:  # noqa: BLE001 - as in Twisted, an exception in a protocol ends its own connection only
            self._broken()

    def _connect(self, peer: Any) -> None:
        """
        Build the protocol of a new connection.

        A TCP connection that was reset before it was accepted has no address. Without an address
        the protocol would take the client for one at a UNIX socket, so the connection is dropped.
        """
        if peer is None:
            self._transport.abort()
            return
        self._peer = _address(peer)
        self._protocol = self._factory.buildProtocol(self._peer)
        if self._protocol is None:
            self._transport.abort()
        else:
            self._protocol.makeConnection(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._protocol.dataReceived(data)
        except Exception:  # noqa: BLE001 - as in Twisted, an exception in a protocol ends its own connection only
            self._broken()

    def eof_received(self) -> None:
        """End the connection, as Twisted does when a client closes its sending direction."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.write = _ignore  # type: ignore[method-assign] # takes the place of the method of the event loop, which L{connection_made} has set
        protocol, self._protocol = self._protocol, None
        producer, self._producer = self._producer, None
        try:
            if producer is not None:
                producer.stopProducing()
            if protocol is not None:
                protocol.connectionLost(self._reason or (_DONE if exc is None else _LOST))
        except Exception:  # noqa: BLE001 - an exception of a protocol must not reach the event loop
            self._log_failure()

    def pause_writing(self) -> None:
        self._is_full = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._producer is not None:
            self._producer.resumeProducing()

    def _broken(self) -> None:
        """Log the current exception, and end the connection without sending what is buffered."""
        self._reason = Failure()
        self._log_failure()
        self._transport.abort()

    def _log_failure(self) -> None:
        self._log.failure(
            "a connection failed because of an internal error", event="routes.connection.broken"
        )

    # --- ITransport: what protocols of Twisted call ---

    def write(self, data: bytes) -> None:
        """Send bytes; L{connection_made} replaces this method by the one of the event loop."""
        self._transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.disconnecting = True
        self._transport.close()

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return _address(self._transport.get_extra_info("sockname"))

    # --- ITCPTransport ---

    def loseWriteConnection(self) -> None:
        self.write = _ignore  # type: ignore[method-assign] # takes the place of the method of the event loop, which L{connection_made} has set
        if not self._transport.is_closing():
            self._transport.write_eof()

    def abortConnection(self) -> None:
        """Close the connection at once; the client gets a reset, as from Twisted."""
        if self._protocol is None or self._reason is not None:
            return
        self._reason = _ABORTED
        self._transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
        self._transport.abort()

    def getTcpNoDelay(self) -> bool:
        """
        Return C{True} for a TCP connection, because the event loop has set C{TCP_NODELAY} on every
        one.
        """
        return not isinstance(self._peer, UNIXAddress)

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001 - callers of Twisted's interface pass the argument by position
        """Do nothing, because the event loop has set the keep-alive option already."""

    def getTcpKeepAlive(self) -> bool:
        return bool(self._transport.get_extra_info("socket").getsockopt(SOL_SOCKET, SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: FBT001 - callers of Twisted's interface pass the argument by position
        self._transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_KEEPALIVE, enabled)

    # --- IConsumer: a producer is paused while many bytes wait to be sent ---

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: FBT001 - callers of Twisted's interface pass the argument by position
        """
        Pause and resume a producer, so that it writes no faster than the client reads.

        @raise NotImplementedError: the producer is a pull producer, which has to be asked for each
            piece.
        @raise RuntimeError: another producer is registered.
        """
        if self._producer is not None:
            raise RuntimeError("another producer is registered at this connection")
        if not streaming:
            raise NotImplementedError("a connection on uvloop takes push producers only")
        if self._protocol is None:
            producer.stopProducing()
            return
        self._producer = producer
        if self._is_full:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    # --- IPushProducer: reading from the client ---

    def pauseProducing(self) -> None:
        self._transport.pause_reading()

    def resumeProducing(self) -> None:
        self._transport.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()


def _ignore(data: bytes) -> None:
    """Ignore bytes that are written after the end of a connection, as Twisted does."""


def _address(name: Any) -> IAddress:
    """Return the address of a socket as an address object of Twisted."""
    if not isinstance(name, tuple):
        return UNIXAddress(name or None)
    if len(name) == _SIZE_OF_IPV4:
        return IPv4Address("TCP", *name)
    host, port, flow, scope = name
    if scope:  # A link-local address is complete only with the name of its network interface.
        host = getnameinfo(name, NI_NUMERICHOST | NI_NUMERICSERV)[0]
    return IPv6Address("TCP", host, port, flow, scope)
