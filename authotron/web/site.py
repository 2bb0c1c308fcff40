"""A Klein app with what every request goes through: checks before, counting and logging after."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from io import BytesIO
from typing import Any
from uuid import uuid4

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import IResource

from authotron.concurrency.reactor_time import Meter
from authotron.config.schema import Access
from authotron.gateway.decisions import Outcome
from authotron.model.hosts import HOST_FIELD
from authotron.telemetry.metrics import METHODS, Metrics
from authotron.web import replies
from authotron.web.channel import LARGEST_BODY, Channel
from authotron.web.connections import ConnectionLimit, OpenConnections, Overloaded
from authotron.web.replies import Reply

UNMATCHED = "unmatched"

_FAILURES = 400
_IN_USE = 1.0
"""Seconds for which a connection without a request counts as in use."""
_OF_NOBODY = "{method} {route}: {status} from {client}"
_OF_SOMEBODY = "{method} {route}: {status} for {username} of {realm} from {client}"

_PATH = re.compile(rb"/|(?:/[A-Za-z0-9._~-]+)+")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Request(server.Request):
    """
    One request.

    @ivar outcome: what came of its credentials, if they were judged.
    """

    site: Site
    channel: Channel
    content: BytesIO
    outcome: Outcome | None = None
    began = 0.0

    def process(self) -> None:
        """C{OPTIONS *} is about no path: like one that is not there, and not Twisted's 200."""
        if self.path == b"*":
            self.path = b"/*"
        super().process()

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()  # whatever Twisted would put into a file is refused
        if length is not None and length > LARGEST_BODY:
            self.requestHeaders.removeHeader(b"Expect")  # or Twisted would ask for it
            self.channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def handleContentChunk(self, data: bytes) -> None:
        super().handleContentChunk(data)
        if self.content.tell() > LARGEST_BODY:
            self.channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def render(self, resrc: IResource) -> None:
        """Before Klein and werkzeug see it: what they would choke on, or read in another way."""
        with self.site.meter(self.site.route(self)).timing():
            self._render(resrc)

    def _render(self, resrc: IResource) -> None:
        self.site.began(self)
        self.setHeader(b"Server", b"authotron")
        problem = self._problem()
        if problem is None:
            super().render(resrc)
        else:
            self.send(problem)

    def _problem(self) -> Reply | None:
        hosts = self.requestHeaders.getRawHeaders(b"Host", [])
        is_missing = not hosts and self.clientproto == b"HTTP/1.1"
        if is_missing or len(hosts) > 1 or not all(map(HOST_FIELD.fullmatch, hosts)):
            self._close_after_reply()
            return replies.BAD_REQUEST  # RFC 9112 section 3.2
        if not hosts:  # HTTP/1.0, and nothing here depends on it
            self.requestHeaders.setRawHeaders(b"Host", [b"localhost"])
        if not _PATH.fullmatch(self.path):
            return replies.NOT_FOUND
        if self.method != self.method.upper():
            # Methods are case-sensitive (RFC 9110 section 9.1); werkzeug would serve this one.
            return self.site.wrong_method(self.path.decode("ascii"))
        return None

    def _close_after_reply(self) -> None:
        self.channel.persistent = False
        self.setHeader(b"Connection", b"close")

    def send(self, reply: Reply) -> None:
        """Answer without Klein."""
        self.setResponseCode(reply.status)
        for name, value in reply.headers:
            self.setHeader(name, value)
        self.setHeader(b"Content-Length", b"%d" % len(reply.body))
        self.write(reply.body)
        self.finish()

    def connectionLost(self, reason: Failure) -> None:
        if self.began:
            self.site.abandoned(self)
        super().connectionLost(reason)

    @property
    def method_label(self) -> str:
        """The method, or C{other} for what a client made up."""
        method = self.method.decode("ascii", "replace")
        return method if method in METHODS else "other"

    @property
    def media_type(self) -> str:
        """What the body is said to be, without parameters."""
        given = self.requestHeaders.getRawHeaders(b"Content-Type", [b""])[0].decode("latin-1")
        return given.partition(";")[0].strip().lower()


def _request_id(given: bytes | None) -> str:
    """What the client or its proxy calls the request if that is a sane name, else a new one."""
    return given.decode() if given and _REQUEST_ID.fullmatch(given) else uuid4().hex


class Site(server.Site):
    """
    Serves an app.

    @ivar routes: the paths that may become a label; one of them may end in a parameter.
    @ivar limit: bytes that the head of a request may have.
    @ivar open: its connections.
    """

    protocol = Channel  # type: ignore[assignment] # the one for HTTP/1 only
    requestFactory = Request
    noisy = False
    _log = Logger()

    def __init__(
        self,
        app: Klein,
        clock: IReactorTime,
        routes: Iterable[str],
        *,
        timeout: float,
        limit: int,
        access: Access,
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__(
            app.resource(), reactor=clock, timeout=timeout, parsePOSTFormSubmission=False
        )
        self._clock = clock
        self._paths = app.url_map.bind("localhost")
        self._routes = frozenset(routes)
        self._with_parameter = {
            route.rpartition("/")[0]: route for route in self._routes if route.endswith("}")
        }
        self.limit = limit
        self._metrics = metrics
        self._held_up = metrics.held_up if metrics else _count_nothing
        self._meters: dict[str, Meter] = {}
        self._access = access
        self.open = OpenConnections()
        self._connection_limit: ConnectionLimit | None = None

    def limit_connections(self, most: int, metrics: Metrics) -> None:
        """
        Reject connections above C{most}, unless one that is not in use can be closed.

        @param metrics: counts the rejected connections, and requests that hold the reactor up.
        """
        self._held_up = metrics.held_up
        self._connection_limit = ConnectionLimit(
            self._clock, metrics, most, (self.open,), "metrics", self._close_unused
        )

    def _close_unused(self) -> bool:
        """Close the connection that has been without a whole request for longest."""
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
        """Serve a connection, however many there are."""
        channel: Channel = super().buildProtocol(addr)
        channel.unused_since = self._clock.seconds()
        channel.limit = self.limit
        channel.lost = self.open.discard
        self.open.add(channel)
        return channel

    def wrong_method(self, path: str) -> Reply:
        """Return the reply to a method that is not in upper case, and so not one of the path's."""
        allowed = [*self._paths.allowed_methods(path)]
        return replies.method_not_allowed(allowed) if allowed else replies.NOT_FOUND

    def meter(self, route: str) -> Meter:
        """Return what times the callbacks that requests for C{route} cause."""
        meter = self._meters.get(route)
        if meter is None:
            meter = self._meters[route] = Meter(route, self._clock, self._held_up)
        return meter

    def began(self, request: Request) -> None:
        """A request has come in whole."""
        request.began = self._clock.seconds()
        if self._metrics:
            self._metrics.request_began(request.method_label)

    def log(self, request: Request) -> None:  # type: ignore[override] # made by requestFactory
        """A request was answered. Twisted calls this."""
        if request.began:
            self.answered(
                request.method_label,
                self.route(request),
                request.code,
                max(0.0, self._clock.seconds() - request.began),
                request.outcome,
                request.client,
                request.requestHeaders.getRawHeaders(b"X-Request-ID", [None])[0],
            )
            self._ended(request)

    def abandoned(self, request: Request) -> None:
        """A client left before its request was answered. Nobody was refused."""
        self._ended(request)

    def _ended(self, request: Request) -> None:
        request.began = 0.0
        request.channel.unused_since = self._clock.seconds()
        if self._metrics:
            self._metrics.request_ended(request.method_label)

    def answered(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        outcome: Outcome | None,
        client: IAddress | None,
        request_id: bytes | None,
    ) -> None:
        """Count a request that was answered, and log it if such are logged."""
        if self._metrics:
            self._metrics.request_answered(route, method, status, seconds)
        if self._access == "none" or (self._access == "failures" and status < _FAILURES):
            return
        authentication = outcome.authentication if outcome else None
        identity = authentication.identity if authentication else None
        self._log.info(
            _OF_SOMEBODY if identity else _OF_NOBODY,
            event="routes.request.answered",
            method=method,
            route=route,
            status=status,
            seconds=round(seconds, 6),
            request_id=_request_id(request_id),
            client=getattr(client, "host", "unix"),
            result=outcome.result if outcome else "",
            realm=identity.realm if identity else "",
            username=identity.username if identity else "",
        )

    def drain(self) -> Deferred[None]:
        """
        Close connections as soon as nothing is in flight on them.

        @return: fires when none is left. That an answer was written is not enough: it must have
            been sent, too.
        """
        return self.open.drain()

    def adopt(self, access: Access) -> None:
        """From now on log these requests."""
        self._access = access

    def route(self, request: Request) -> str:
        """The path as a label; what is secret or made up does not become one."""
        path = request.path.decode("ascii", "replace")
        if path in self._routes:
            return path
        folder, _, rest = path.rpartition("/")
        return self._with_parameter.get(folder, UNMATCHED) if rest else UNMATCHED


def _count_nothing(_route: str) -> None:
    """Count nothing, on a site without metrics."""
