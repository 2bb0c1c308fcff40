"""Listening ports that Twisted opens, and on which the event loop accepts connections."""

from __future__ import annotations

import asyncio
import os
import select
from socket import AF_UNIX, socket
from typing import Any

from attrs import define, field
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from authotron.daemon.uvloop.reactor import loop_of
from authotron.daemon.uvloop.wire import Wire

_INHERITED_BACKLOG = 65_535
"""
The backlog (see listen(2)) of a listening socket that another process has opened. The event loop
has to set a backlog, and cannot find out the one that the other process set. The kernel reduces the
backlog to C{net.core.somaxconn}.
"""


def accept_by_loop(
    reactor: object, port: IListeningPort
) -> IListeningPort | Deferred[IListeningPort]:
    """
    Let the event loop of a reactor accept the connections of a port, and read and write them.

    If the reactor does not run on uvloop, the port is returned unchanged. TLS ports, and ports of
    a class that is not Twisted's, are also returned unchanged.

    @param port: a port that Twisted has just opened, so that it has accepted no connection yet.
    """
    loop = loop_of(reactor)
    if loop is None or not isinstance(port, tcp.Port):
        return port
    return port if isinstance(port.factory, TLSMemoryBIOFactory) else LoopPort(loop, port).start()


def _epoll_of(loop: Any) -> select.epoll | None:
    """Return the epoll object of an event loop of uvloop, or C{None} if uvloop hides it."""
    reveal = getattr(loop, "_get_backend_id", None)
    return None if reveal is None else select.epoll.fromfd(os.dup(reveal()))


@implementer(IListeningPort)
@define(eq=False)
class LoopPort:
    """
    A listening port on which an event loop accepts the connections.

    The port of Twisted remains the owner of the socket: it starts and stops the factory, and
    removes the file of a UNIX socket.
    """

    _loop: asyncio.AbstractEventLoop
    _port: tcp.Port
    _server: Any = field(default=None, init=False)
    _listening: socket = field(init=False)
    _watched: select.epoll | None = field(init=False)

    def start(self) -> Deferred[IListeningPort]:
        """Accept connections at the port from now on."""
        self._watched = _epoll_of(self._loop)
        self._port.stopReading()
        factory: Any = self._port.factory
        self._listening = listening = socket(fileno=os.dup(self._port.fileno()))
        listen: Any = self._loop.create_server
        if listening.family == AF_UNIX:
            listen = self._loop.create_unix_server
        backlog = self._port.backlog or _INHERITED_BACKLOG
        starting = listen(lambda: Wire(factory), sock=listening, backlog=backlog)
        started: Deferred[Any] = Deferred.fromFuture(
            asyncio.ensure_future(starting, loop=self._loop)
        )
        return started.addCallback(self._note)

    def _note(self, server: Any) -> IListeningPort:
        self._server = server
        return self

    # --- pauses ---

    def fileno(self) -> int:
        """Return the descriptor of the listening socket that the event loop watches."""
        return self._listening.fileno()

    def stopReading(self) -> None:
        """
        Accept no connections until L{startReading} is called.

        uvloop cannot pause a server. For that reason this method makes the epoll object of the
        event loop report nothing about the socket (epoll_ctl(2)). If a version of uvloop hides this
        object, the port accepts connections nevertheless.
        """
        self._watch(0)

    def startReading(self) -> None:
        """Accept connections again."""
        self._watch(select.EPOLLIN)

    def _watch(self, events: int) -> None:
        if self._watched is not None:
            self._watched.modify(self.fileno(), events)

    # --- IListeningPort ---

    def startListening(self) -> None:
        """Do nothing: L{start} has begun to accept connections."""

    def stopListening(self) -> Deferred[None]:
        """
        Stop accepting connections, and close the socket.

        The returned Deferred fires after the event loop has reported all connections that it has
        accepted before, so that they are among the open connections when these are drained.
        """
        self._server.close()
        if self._watched is not None:
            self._watched.close()
        stopped: Deferred[None] = Deferred()
        self._loop.call_soon(stopped.callback, None)
        return stopped.addCallback(lambda _: self._port.stopListening())

    def getHost(self) -> IAddress:
        host: IAddress = self._port.getHost()
        return host
