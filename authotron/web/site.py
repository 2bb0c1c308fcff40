"""
The HTTP site of one port, which answers requests by Klein, limits connections, and keeps metrics
and access log.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from attrs import frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web import server

from authotron.concurrency.reactor_time import Meter
from authotron.config.schema import Access
from authotron.gateway.contracts import Contracts
from authotron.gateway.outcomes import Outcome
from authotron.limits.unfinished_heads import UnfinishedHeads
from authotron.telemetry.metrics import Metrics
from authotron.telemetry.terminal import visible
from authotron.web import replies
from authotron.web.channel import Channel
from authotron.web.connections import ConnectionLimit, OpenConnections, Overloaded
from authotron.web.replies import Reply
from authotron.web.request import Request
from authotron.web.routing import UNMATCHED, RouteLabels

_LEAST_LOGGED: Mapping[Access, int] = {"all": 0, "failures": 400, "none": 1000}
"""
For each configurable kind of access log, the lowest status code of requests that the access log
contains.
"""

_IN_USE = 1.0
"""Number of seconds after its last request for which a connection does not yet count as idle."""

_ANONYMOUS = "{method} {route}: {status} from {client}"
_REFUSED = "{method} {route}: {status} for the user name {tried} from {client}"
_IDENTIFIED = "{method} {route}: {status} for {username} of {realm} from {client}{because}"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


_MOST_TRIED = 64
"""Maximum number of characters of the user name of a refused request that are logged."""


def _tried_name(sender: Sender) -> str:
    """Return the user name in a Basic credential, escaped, or an empty string."""
    scheme, _, value = (sender.authorization or b"").strip(b" \t").partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        name = b64decode(value.strip(b" "), validate=True).partition(b":")[0]
    except ValueError:
        return ""
    return visible(name.decode("utf-8", "backslashreplace")[:_MOST_TRIED])


def _request_id(given: bytes | None) -> str:
    """Return the header C{X-Request-ID} of a request if it is well-formed, or else a new id."""
    return given.decode() if given and _REQUEST_ID.fullmatch(given) else uuid4().hex


def _none_is_off(_path: bytes) -> bool:
    """
    Return false for every path, because the configuration cannot switch off any route of
    this port.
    """
    return False


def _no_contracts() -> None:
    """Return C{None}: no proxy asks for decisions at this port, and none is trusted."""


class Sender(Protocol):
    """The sender of a request, as far as the access log knows the sender."""

    @property
    def sender(self) -> str:
        """The address of the client, or of the peer if a trusted proxy does not state it."""

    @property
    def authorization(self) -> bytes | None:
        """The first C{Authorization} header of the request."""


@frozen
class Peer:
    """
    The sender of a request whose headers could not be read: only the peer of the connection is
    known.
    """

    _address: IAddress | None
    authorization: bytes | None = None

    @property
    def sender(self) -> str:
        return str(getattr(self._address, "host", "unix"))


class Answered(NamedTuple):
    """
    An answered request, as metrics and the access log show it.

    @ivar seconds: how long the request took.
    @ivar reason: why the request was denied although its client was authenticated.
    @ivar sender: the sender of the request, whose address is looked up only if the request is
        logged.
    """

    method: str
    route: str
    status: int
    seconds: float
    outcome: Outcome | None
    sender: Sender
    request_id: bytes | None = None
    reason: str = ""


class Site(server.Site):
    """
    Answers the HTTP requests to one port by a Klein app.

    @ivar limit: maximum number of bytes in the request line and the headers of a request.
    @ivar least_logged: the lowest status code of requests that the access log contains.
    @ivar open: the open connections to the port.
    @ivar unfinished: the memory budget for request heads that were received only in part.
    @ivar is_off: returns whether the configuration in use switches off the route for a path.
    """

    protocol = Channel  # type: ignore[assignment] # the class of channel that speaks HTTP/1 only
    requestFactory = Request
    noisy = False
    _log = Logger()

    def __init__(
        self,
        app: Klein,
        clock: IReactorTime,
        *,
        timeout: float,
        limit: int,
        access: Access,
        metrics: Metrics | None = None,
        with_body: Collection[tuple[str, str]] = (),
        unfinished: UnfinishedHeads | None = None,
        contracts: Callable[[], Contracts | None] = _no_contracts,
    ) -> None:
        """
        @param contracts: a function that returns the contracts of the proxies that may ask at this
            port now.
        @param with_body: the methods and metric labels of the routes that read the request body.
        @param unfinished: the memory budget for request heads that were received only in part, if
            other sites share the budget.
        """
        super().__init__(
            app.resource(), reactor=clock, timeout=timeout, parsePOSTFormSubmission=False
        )
        self._clock = clock
        self._paths = app.url_map.bind("localhost")
        self._labels = RouteLabels(app)
        self.limit = limit
        self._metrics = metrics
        self._held_up = metrics.reactor_blocked if metrics else _count_nothing
        self._meters: dict[str, Meter] = {}
        self.set_access_log(access)
        self.contracts = contracts
        self.is_off: Callable[[bytes], bool] = _none_is_off
        self.open = OpenConnections()
        self.unfinished = unfinished or UnfinishedHeads()
        self._with_body = frozenset(with_body)
        self._connection_limit: ConnectionLimit | None = None

    def limit_connections(self, most: int, metrics: Metrics) -> None:
        """
        Reject connections above C{most}, unless an open connection that is not in use can be closed
        instead.

        @param metrics: the metrics in which rejected connections, and callbacks that block the
            reactor, are counted.
        """
        self._held_up = metrics.reactor_blocked
        self._connection_limit = ConnectionLimit(
            self._clock, metrics, most, (self.open,), "metrics", self._close_unused
        )

    def acceptableProtocols(self) -> list[bytes]:
        """
        Return HTTP/1.1 as the only protocol for TLS (ALPN).

        If the packages h2 and priority are installed, Twisted offers HTTP/2 as well, which
        C{protocol} does not speak.
        """
        return [b"http/1.1"]

    def _close_unused(self) -> bool:
        """
        Close the connection that has been without a request for the longest time; return whether
        there was one.
        """
        unused = [
            channel
            for channel in self.open
            if isinstance(channel, Channel)
            and not any(request.began for request in channel.requests)
            and self._clock.seconds() - channel.unused_since >= _IN_USE
        ]
        if not unused:
            return False
        oldest = min(unused, key=lambda channel: channel.unused_since)
        self.open.discard(oldest)
        oldest.transport.abortConnection()
        return True

    def buildProtocol(self, addr: Any) -> Channel | Overloaded:  # type: ignore[override] # see protocol
        if self._connection_limit is not None and self._connection_limit.is_full():
            return Overloaded()
        return self.build_channel(addr)

    def build_channel(self, addr: Any) -> Channel:
        """Build a protocol for each connection, even above the connection limit."""
        channel: Channel = super().buildProtocol(addr)
        channel.unused_since = self._clock.seconds()
        channel.limit = self.limit
        channel.unfinished = self.unfinished
        channel.reads_body = self._reads_body
        channel.refused = self._refused
        channel.lost = self.open.discard
        self.open.add(channel)
        return channel

    def _reads_body(self, method: bytes, path: bytes) -> bool:
        """Whether the route for a method and path reads the request body."""
        if not self._with_body or self.is_off(path):
            return False
        label = self._labels.of(path.decode("ascii", "replace"))
        return (method.decode("ascii", "replace"), label) in self._with_body

    def _refused(self, status: HTTPStatus, client: IAddress | None) -> None:
        """Count and log a request that was refused because it cannot be parsed."""
        self.answered(Answered("other", UNMATCHED, status.value, 0.0, None, Peer(client)))

    def wrong_method(self, path: str) -> Reply:
        """
        Return the reply to a request whose method is not in upper case, because methods are
        case-sensitive.
        """
        allowed = [*self._paths.allowed_methods(path)]
        return replies.method_not_allowed(allowed) if allowed else replies.NOT_FOUND

    def meter(self, route: str) -> Meter:
        """Return the meter that measures how long callbacks for a route block the reactor."""
        meter = self._meters.get(route)
        if meter is None:
            meter = self._meters[route] = Meter(route, self._clock, self._held_up)
        return meter

    def began(self, request: Request) -> None:
        """Count a request that was received completely."""
        request.began = self._clock.seconds()
        if self._metrics:
            self._metrics.request_started(request.method_label)

    def log(self, request: Request) -> None:  # type: ignore[override] # the factory requestFactory made the request
        """
        Count an answered request, and write it to the access log, when Twisted
        calls this method.
        """
        if request.began:
            self.answered(
                Answered(
                    request.method_label,
                    self.route(request),
                    request.code,
                    max(0.0, self._clock.seconds() - request.began),
                    request.outcome,
                    request,
                    request.requestHeaders.getRawHeaders(b"X-Request-ID", [None])[0],
                    request.reason,
                )
            )
            self._ended(request)

    def abandoned(self, request: Request) -> None:
        """
        Count a request whose client disconnected before the reply, but write nothing to the access
        log.
        """
        self._ended(request)

    def _ended(self, request: Request) -> None:
        request.began = 0.0
        request.channel.unused_since = self._clock.seconds()
        if self._metrics:
            self._metrics.request_ended(request.method_label)

    def answered(self, request: Answered) -> None:
        """Count an answered request, and write it to the access log if it is to be logged."""
        if self._metrics:
            self._metrics.request_answered(
                request.route, request.method, request.status, request.seconds
            )
        if request.status >= self.least_logged:
            self.log_answered(request)

    def log_answered(self, request: Answered) -> None:
        """Write an answered request to the access log."""
        outcome = request.outcome
        authentication = outcome.authentication if outcome else None
        identity = authentication.identity if authentication else None
        tried = "" if identity or not self._logs_tried_names else _tried_name(request.sender)
        self._log.info(
            _IDENTIFIED if identity else (_REFUSED if tried else _ANONYMOUS),
            event="routes.request.answered",
            method=request.method,
            route=request.route,
            status=request.status,
            seconds=round(request.seconds, 6),
            request_id=_request_id(request.request_id),
            client=request.sender.sender,
            tried=tried,
            result=outcome.result if outcome else "",
            reason=request.reason,
            because=request.reason and f": {request.reason}",
            realm=identity.realm if identity else "",
            username=identity.username if identity else "",
        )

    def drain(self) -> Deferred[None]:
        """
        Close every connection once its requests are answered.

        @return: a Deferred that fires when all connections are closed, so that all replies have
            been sent.
        """
        return self.open.drain()

    def set_access_log(self, access: Access, *, tried_names: bool = False) -> None:
        """
        Change which requests are written to the access log.

        @param tried_names: whether the access log contains the user names of refused requests.
        """
        self.least_logged = _LEAST_LOGGED[access]
        self._logs_tried_names = tried_names

    def route(self, request: Request) -> str:
        """
        Return the metric label for the path of a request, which contains no secret part of the
        path.
        """
        if request.asked is not None:
            return request.asked.endpoint.path
        return self._labels.of(request.path.decode("ascii", "replace"))


def _count_nothing(_route: str) -> None:
    """Do nothing: a site without metrics counts no blocking callbacks."""
