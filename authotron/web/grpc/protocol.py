"""
The protocol C{grpc} of C{server.listen}: its gRPC services, and the state that their connections
share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger

from authotron.gateway.gateway import LiveGateway
from authotron.web.grpc import envoy, health
from authotron.web.grpc.calls import Answer, Caller, Method, Status
from authotron.web.grpc.connection import Connection
from authotron.web.replies import Reply
from authotron.web.routing import UNMATCHED
from authotron.web.site import Answered, Site

ALPN = (b"h2",)
"""The protocol name (ALPN) that TLS negotiates for gRPC."""

_WARNING_INTERVAL = 60.0
"""
Minimum number of seconds between two warnings about peers that break the gRPC or
HTTP/2 rules.
"""

_STATUSES = {
    Status.RESOURCE_EXHAUSTED: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Status.UNIMPLEMENTED: HTTPStatus.NOT_FOUND,
    Status.INTERNAL: HTTPStatus.BAD_REQUEST,
}
"""
For gRPC calls that fail before their method answers: the HTTP status that log and
metrics show.
"""


def connections(
    site: Site, serving: LiveGateway[Reply], clock: IReactorTime
) -> Callable[[IAddress], Connection]:
    """
    Return the function that builds the gRPC protocol of a connection.

    @param site: the site of the main port, whose metrics, access log and budgets are shared.
    """
    shared = Shared(site, serving, clock)

    def build(address: IAddress) -> Connection:
        # The address of a UNIX socket has no host.
        return Connection(shared, getattr(address, "host", None))

    return build


class Shared:
    """The state that all gRPC connections share."""

    _log = Logger()

    def __init__(self, site: Site, serving: LiveGateway[Reply], clock: IReactorTime) -> None:
        self.clock = clock
        self.unfinished = site.unfinished
        self.idle_timeout = site.timeOut or 0.0
        self.methods: Mapping[bytes, Method] = {
            envoy.PATH: envoy.Authorization(serving, clock, site).check,
            health.PATH: health.Health(serving, site).check,
        }
        self._site = site
        self._serving = serving
        self._last_warning: float | None = None

    def violated(self, peer: str | None, reason: str) -> None:
        """
        Count a connection that was closed because of what its peer sent; log one warning a minute
        at most.
        """
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
        """Count and log a gRPC call that was answered without its method being called."""
        status = answer.http
        if status == HTTPStatus.OK:
            status = _STATUSES.get(answer.status, HTTPStatus.BAD_REQUEST)
        self._site.answered(Answered("POST", UNMATCHED, status, 0.0, None, Caller(peer or "unix")))
