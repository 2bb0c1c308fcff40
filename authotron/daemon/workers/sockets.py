"""Listening sockets that the supervisor holds, and that its workers share."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet import tcp
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
from authotron.daemon.event_loop import accept_by_loop
from authotron.daemon.workers.accept_gate import AcceptGate

_AT_ONCE = 4
"""Maximum number of connections that a worker on epoll accepts in one reactor turn."""


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


@implementer(IListeningPort)
@define(eq=False)
class SharedPort:
    """A port at a listening socket that the workers share, and from which they accept evenly."""

    _port: Any  # A port with the methods that no interface declares.
    _gate: AcceptGate
    _accept: Any = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if isinstance(self._port, tcp.Port):
            port: Any = self._port
            self._accept, port.doRead = port.doRead, self._accept_few
        self._gate.open(self._port)

    def _accept_few(self) -> None:
        """
        Accept few connections in one reactor turn. Twisted alone would accept all connections that
        wait.
        """
        self._port.numberAccepts = _AT_ONCE
        self._accept()

    def startListening(self) -> None:
        """Do nothing when the port starts, because it has begun to accept connections already."""

    def stopListening(self) -> Deferred[None] | None:
        self._gate.close(self._port)
        stopped: Deferred[None] | None = self._port.stopListening()
        return stopped

    def getHost(self) -> IAddress:
        host: IAddress = self._port.getHost()
        return host


@implementer(IStreamServerEndpoint)
@define(eq=False)
class SharedEndpoint:
    """A listening socket that this worker has inherited and shares with the other workers."""

    _reactor: IGatewayReactor
    _endpoint: systemd.Endpoint
    _gate: AcceptGate

    @property
    def description(self) -> str:
        """The address of the inherited socket."""
        return self._endpoint.description

    @property
    def protocol(self) -> str:
        """The protocol that is served at the socket."""
        return self._endpoint.protocol

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        listening: Deferred[Any] = self._endpoint.listen(factory)
        listening.addCallback(partial(accept_by_loop, self._reactor))
        return listening.addCallback(SharedPort, self._gate)
