"""A listening socket from which several processes accept, each of them a few at a time."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.config.endpoint import narrow_sockets, server_endpoint, with_mode
from authotron.daemon import systemd

PAUSE = 0.001
"""Seconds that the others have after one has accepted."""

_MOST = 64


class ListeningSocket:
    """A listening socket that is kept open for others to accept from."""

    def __init__(self, reactor: Any, endpoint: str | systemd.Endpoint) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._port: Any = None

    @property
    def description(self) -> str:
        each = self._endpoint
        return with_mode(each) if isinstance(each, str) else each.description

    def open(self) -> int:
        """
        Its descriptor.

        @raise CannotListenError: it cannot be had.
        """
        if isinstance(self._endpoint, systemd.Endpoint):
            return self._endpoint.descriptor
        failed: list[Failure] = []
        with narrow_sockets():
            listening = server_endpoint(self._reactor, self._endpoint).listen(Factory())
        listening.addCallbacks(self._take, failed.append)
        if failed:
            failed[0].raiseException()
        descriptor: int = self._port.fileno()
        return descriptor

    def _take(self, port: Any) -> None:
        port.stopReading()  # in the same turn of the reactor, so nobody has been accepted
        self._port = port

    async def close(self) -> None:
        """If it is ours: systemd goes on to hold its own."""
        if self._port is not None:
            await self._port.stopListening()


@define(eq=False)
class FairAccept:
    """
    Takes a little, and lets others take their part.

    Twisted accepts whatever is there. When many connect at once, the first process that wakes up
    would get nearly all, and keep them for as long as they last. This one takes a connection, then
    twice as many each time as long as there are more.
    """

    _port: Any  # a port of Twisted, with all that it can do
    _reactor: Any
    _accept: Any = field(init=False)
    _most: int = field(default=1, init=False)

    def __attrs_post_init__(self) -> None:
        self._accept, self._port.doRead = self._port.doRead, self.take

    def take(self) -> None:
        """Some are waiting. Twisted raises C{numberAccepts} if it has accepted as many."""
        self._port.numberAccepts = self._most
        self._accept()
        if self._port.numberAccepts <= self._most:
            self._most = 1
            return
        self._most = min(self._most * 2, _MOST)
        self._port.stopReading()
        self._reactor.callLater(PAUSE, self._go_on)

    def _go_on(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()


@implementer(IStreamServerEndpoint)
@define(eq=False)
class SharedEndpoint:
    """A socket that was handed over, to others as well."""

    _reactor: Any
    _endpoint: systemd.Endpoint

    @property
    def description(self) -> str:
        return self._endpoint.description

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        return self._endpoint.listen(factory).addCallback(self._take_turns)

    def _take_turns(self, port: IListeningPort) -> IListeningPort:
        FairAccept(port, self._reactor)
        return port
