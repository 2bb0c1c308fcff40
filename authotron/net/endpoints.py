"""
Endpoints for connections to other machines, where an attempt to connect can
be cancelled cleanly.
"""

from __future__ import annotations

import re
from functools import partial

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.concurrency.reactor import IGatewayReactor
from authotron.net.world import Connect


def connector(reactor: IGatewayReactor) -> Connect:
    """
    Return the function that creates endpoints of a reactor, which connect to a host name, an
    address, or the UNIX socket at an absolute path.
    """
    return partial(_endpoint_for, reactor)


def _endpoint_for(reactor: IGatewayReactor, host: str, port: int, /) -> IStreamClientEndpoint:
    if host.startswith("/"):
        return CancellableEndpoint(UNIXClientEndpoint(reactor, host))
    return CancellableEndpoint(_HostEndpoint(reactor, host, port))


_LABEL = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,63}")


class _HostEndpoint(HostnameEndpoint):
    """
    An endpoint that connects to any host name in ASCII, even one that IDNA forbids.

    L{HostnameEndpoint} raises C{ValueError} for names that are not valid in IDNA, such as
    C{my_host} or C{ab--cd}, although a resolver finds them (RFC 2181 section 11). To connect to
    names that IDNA forbids, the private method C{_hostAsBytesAndText} must be overridden, because
    Twisted offers no other way.
    """

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        if isinstance(host, str) and all(map(_LABEL.fullmatch, host.removesuffix(".").split("."))):
            return False, host.encode("ascii"), host
        return HostnameEndpoint._hostAsBytesAndText(host)  # noqa: SLF001 - Twisted has no public method for this

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's interface gives the argument this name
        """
        Implement L{IStreamClientEndpoint.connect}; fail with C{DNSLookupError} if the host cannot
        be looked up.
        """
        if self._badHostname:
            return fail(DNSLookupError(f"{self._hostText} is not a host name"))
        connecting: Deferred[IProtocol] = super().connect(protocolFactory)
        return connecting


@implementer(IStreamClientEndpoint)
@frozen
class CancellableEndpoint:
    """
    An endpoint that fails with C{CancelledError} if connecting is cancelled.

    Twisted's L{HostnameEndpoint} fails with C{DNSLookupError} or C{ConnectingCancelledError} when
    connecting is cancelled. C{DNSLookupError} is not raised, because it would count as a failure of
    the server: clients that disconnect could open the circuit breaker of a server that works.
    C{ConnectingCancelledError} is not raised, because with it a timeout would look like a defect of
    authotron, and the next server would not be tried.
    """

    _endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's interface gives the argument this name
        """Implement L{IStreamClientEndpoint.connect}."""
        attempt = _Attempt(self._endpoint.connect(protocolFactory))
        return attempt.start()


@define(eq=False)
class _Attempt:
    """One attempt to connect to a server."""

    _connecting: Deferred[IProtocol]
    _is_cancelled: bool = field(default=False, init=False)
    _outcome: Deferred[IProtocol] = field(init=False)

    def start(self) -> Deferred[IProtocol]:
        self._outcome = Deferred(self._cancel)
        self._connecting.addCallbacks(self._connected, self._failed)
        return self._outcome

    def _cancel(self, _: Deferred[IProtocol]) -> None:
        self._is_cancelled = True
        self._connecting.cancel()

    def _connected(self, protocol: IProtocol) -> None:
        if not self._is_cancelled:
            self._outcome.callback(protocol)
        elif (transport := getattr(protocol, "transport", None)) is not None:
            transport.abortConnection()

    def _failed(self, failure: Failure) -> None:
        if not self._is_cancelled:
            self._outcome.errback(failure)
