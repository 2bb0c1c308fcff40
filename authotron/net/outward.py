"""The way to other machines."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.net.world import Connect


def way(reactor: Any) -> Connect:
    """The way that a reactor knows, by name or address."""
    return partial(_begin, reactor)


def _begin(reactor: Any, host: str, port: int, /) -> IStreamClientEndpoint:
    return Outward(HostnameEndpoint(reactor, host, port))


@implementer(IStreamClientEndpoint)
@frozen
class Outward:
    """
    An endpoint whose connecting ends with C{CancelledError} where it is cancelled.

    Twisted's says that the name does not exist, or that connecting was cancelled. The former is
    taken for a failure of the server, the latter for a defect: clients that leave would make a
    server be left alone, and time that runs out would be no reason to ask the next one.
    """

    _endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - as in the interface
        """The interface of L{IStreamClientEndpoint}."""
        attempt = _Attempt(self._endpoint.connect(protocolFactory))
        return attempt.begin()


@define(eq=False)
class _Attempt:
    """One connection that is being made."""

    _connecting: Deferred[IProtocol]
    _left: bool = field(default=False, init=False)
    _outcome: Deferred[IProtocol] = field(init=False)

    def begin(self) -> Deferred[IProtocol]:
        self._outcome = Deferred(self._leave)
        self._connecting.addCallbacks(self._connected, self._failed)
        return self._outcome

    def _leave(self, _: Deferred[IProtocol]) -> None:
        self._left = True
        self._connecting.cancel()

    def _connected(self, protocol: IProtocol) -> None:
        if not self._left:
            self._outcome.callback(protocol)
        elif (transport := getattr(protocol, "transport", None)) is not None:
            transport.abortConnection()

    def _failed(self, failure: Failure) -> None:
        if not self._left:
            self._outcome.errback(failure)
