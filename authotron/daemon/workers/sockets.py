"""
Listening sockets that several worker processes share, so that each process accepts a fair part of
the connections.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.concurrency.reactor import IGatewayReactor
from authotron.config.endpoint import narrow_sockets, protocol_of, server_endpoint, with_mode
from authotron.daemon import leftovers, systemd
from authotron.daemon.uvloop.reactor import loop_of

PAUSE = 0.001
"""
Pause of a process after it has accepted connections, in seconds, so that other processes accept
some.
"""

_MOST = 64
"""Maximum number of connections that a process accepts before it pauses."""


class ListeningSocket:
    """
    A listening socket that the supervisor keeps open for its workers.

    The supervisor itself does not accept connections from this socket.
    """

    def __init__(self, reactor: IGatewayReactor, endpoint: str | systemd.Endpoint) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._port: Any = None

    @property
    def description(self) -> str:
        """The endpoint of the socket, in the form that the log shows."""
        each = self._endpoint
        return with_mode(each) if isinstance(each, str) else each.description

    @property
    def protocol(self) -> str:
        """The protocol that the workers serve at the socket."""
        each = self._endpoint
        return protocol_of(each) if isinstance(each, str) else each.protocol

    @property
    def address(self) -> IAddress | None:
        """The address of the open socket, or C{None} for a socket of systemd."""
        return None if self._port is None else self._port.getHost()

    def open(self) -> int:
        """
        Open the socket, and return its descriptor.

        @raise CannotListenError: the system refuses to listen at the endpoint.
        """
        if isinstance(self._endpoint, systemd.Endpoint):
            return self._endpoint.descriptor
        failed: list[Failure] = []
        leftovers.remove_stale_socket(self._endpoint)
        with narrow_sockets():
            listening = server_endpoint(self._reactor, self._endpoint).listen(Factory())
        listening.addCallbacks(self._take, failed.append)
        if failed:
            failed[0].raiseException()
        descriptor: int = self._port.fileno()
        return descriptor

    def _take(self, port: Any) -> None:
        # The port has accepted no connection yet, because the reactor turn that opened it has not
        # ended.
        port.stopReading()
        self._port = port

    async def close(self) -> None:
        """Close the socket; a socket that systemd holds stays open."""
        if self._port is not None:
            await self._port.stopListening()


@define(eq=False)
class FairAccept:
    """
    Accepts few connections at a time, so that connections spread evenly over all processes.

    Without C{FairAccept}, Twisted accepts all connections that wait at a socket. If many clients
    connect at once, the process that wakes up first would get nearly all their connections. With
    C{FairAccept}, a process accepts one connection and then pauses for L{PAUSE} seconds. As long as
    more connections wait, the process doubles the number that it accepts before each pause.
    """

    _port: Any  # A Twisted port with the attributes that no interface declares.
    _reactor: IGatewayReactor
    _accept: Any = field(init=False)
    _most: int = field(default=1, init=False)

    def __attrs_post_init__(self) -> None:
        self._accept, self._port.doRead = self._port.doRead, self.take

    def take(self) -> None:
        """
        Accept waiting connections; if more connections wait, pause, and accept twice as many next
        time.
        """
        self._port.numberAccepts = self._most
        self._accept()
        # Twisted increases numberAccepts after accepting the allowed number of connections.
        if self._port.numberAccepts <= self._most:
            self._most = 1
            return
        self._most = min(self._most * 2, _MOST)
        self._port.stopReading()
        self._reactor.callLater(PAUSE, self._resume)

    def _resume(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()


@implementer(IStreamServerEndpoint)
@define(eq=False)
class SharedEndpoint:
    """A listening socket that this worker has inherited and shares with the other workers."""

    _reactor: IGatewayReactor
    _endpoint: systemd.Endpoint

    @property
    def description(self) -> str:
        """The address of the inherited socket."""
        return self._endpoint.description

    @property
    def protocol(self) -> str:
        """The protocol that is served at the socket."""
        return self._endpoint.protocol

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        return self._endpoint.listen(factory).addCallback(self._take_turns)

    def _take_turns(self, port: IListeningPort) -> IListeningPort:
        """Let a port accept few connections at a time, as uvloop's event loop does by itself."""
        if loop_of(self._reactor) is None:
            FairAccept(port, self._reactor)
        return port
