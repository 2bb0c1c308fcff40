"""The connections of proxies that ask by gRPC: who may connect, how many, and how they end."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from authotron.gateway.gateway import LiveGateway
from authotron.web.connections import ConnectionLimit, OpenConnections
from authotron.web.grpc import envoy, health
from authotron.web.grpc.calls import Answer, Caller, Method, Status
from authotron.web.grpc.connection import Connection
from authotron.web.replies import Reply
from authotron.web.routing import UNMATCHED
from authotron.web.site import Answered, Site

_WARNING_INTERVAL = 60.0
"""Minimum seconds between two warnings about the connections of peers."""

_STATUSES = {
    Status.RESOURCE_EXHAUSTED: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Status.UNIMPLEMENTED: HTTPStatus.NOT_FOUND,
    Status.INTERNAL: HTTPStatus.BAD_REQUEST,
}
"""For calls that fail before their method answers: the status of HTTP that log and metrics show."""


class Closed(Protocol):
    """The protocol of a connection that is closed before anything is read from it."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.abortConnection()


@implementer(IProtocolNegotiationFactory)
class GrpcFactory(Factory):
    """
    Serves the connections of proxies that ask by gRPC.

    @ivar open: the open connections.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self, site: Site, serving: LiveGateway[Reply], clock: IReactorTime, limit: ConnectionLimit
    ) -> None:
        """
        @param site: the site of the main port, whose metrics, access log and budgets are shared.
        @param limit: limits the connections of the main port and these together.
        """
        self.clock = clock
        self.unfinished = site.unfinished
        self.idle_timeout = site.timeOut or 0.0
        self.open = OpenConnections()
        self._site = site
        self._serving = serving
        self._limit = limit
        self._last_warning: float | None = None
        self.methods: Mapping[bytes, Method] = {
            envoy.PATH: envoy.Authorization(serving, clock, site).check,
            health.PATH: health.Health(serving, site).check,
        }

    def buildProtocol(self, addr: IAddress | None) -> Connection | Closed:
        peer: str | None = getattr(addr, "host", None)
        if not self._serving.gateway.forwarding.is_proxy(peer):
            self.violated(peer, "the peer is not in server.trusted_proxies")
            return Closed()
        if self._limit.is_full():
            return Closed()
        connection = Connection(self, peer)
        self.open.add(connection)
        return connection

    def acceptableProtocols(self) -> list[bytes]:
        """Return HTTP/2 as the protocol for TLS (ALPN)."""
        return [b"h2"]

    def lost(self, connection: Connection) -> None:
        """Remove a connection that is closed from the open connections."""
        self.open.discard(connection)

    def violated(self, peer: str | None, reason: str) -> None:
        """Count a connection that was closed because of its peer; warn once a minute at most."""
        self._serving.metrics.grpc_connection_closed()
        now = self.clock.seconds()
        if self._last_warning is None or now - self._last_warning >= _WARNING_INTERVAL:
            self._last_warning = now
            self._log.warn(
                "closed a gRPC connection of {peer}: {reason}",
                peer=peer or "unix",
                reason=reason,
                event="routes.grpc.closed",
            )

    def failed(self, answer: Answer, peer: str | None) -> None:
        """Count and log a call that was answered without its method."""
        status = answer.http
        if status == HTTPStatus.OK:
            status = _STATUSES.get(answer.status, HTTPStatus.BAD_REQUEST)
        self._site.answered(Answered("POST", UNMATCHED, status, 0.0, None, Caller(peer or "unix")))

    def drain(self) -> Deferred[None]:
        """Close every connection once its calls are answered; fire when all are closed."""
        return self.open.drain()
