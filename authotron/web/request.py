"""
An HTTP request that Klein answers, which is checked before routing, and counted and logged
afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from io import BytesIO
from typing import Protocol

from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import IResource

from authotron.concurrency.reactor_time import Meter
from authotron.gateway.contracts import Asked, Contracts
from authotron.gateway.outcomes import Outcome
from authotron.model.hosts import HOST_FIELD
from authotron.plugin.fact_sources import Question
from authotron.telemetry.metrics import METHODS
from authotron.web import replies
from authotron.web.channel import LARGEST_BODY, Channel
from authotron.web.replies import Reply

_PATH = re.compile(rb"/|(?:/[A-Za-z0-9._~-]+)+")

_UNKNOWN = b"/*"
"""A path that does not belong to any route."""


_PHRASES = {each.value: each.phrase.encode() for each in HTTPStatus}
"""The phrases of all status codes, some of which, such as 422, Twisted does not know."""


class RequestObserver(Protocol):
    """The methods of L{Site} that a request calls."""

    def route(self, request: Request) -> str:
        """Return the metric label for the path of a request."""

    def meter(self, route: str) -> Meter:
        """Return the meter that measures how long callbacks for a route block the reactor."""

    def contracts(self) -> Contracts | None:
        """
        Return the contracts by which proxies may ask for decisions at this port, or C{None} if the
        port is not for proxies.
        """

    def began(self, request: Request) -> None:
        """Note that a request was received completely."""

    def abandoned(self, request: Request) -> None:
        """Note that the client of a request disconnected before the reply."""

    def is_off(self, path: bytes) -> bool:
        """Return whether the configuration in use switches off the route for a path."""

    def wrong_method(self, path: str) -> Reply:
        """Return the reply to a request whose method is not in upper case."""


class Request(server.Request):
    """
    One HTTP request that Klein answers.

    @ivar outcome: the result of authentication, if the request was authenticated.
    @ivar reason: why the request was denied although its client was authenticated.
    @ivar asked: the contract of the proxy that sends this request, or C{None} if the request does
        not ask for a decision.
    @ivar began: the time at which the request was received completely; 0 before that, and after the
        reply.
    @ivar end_reply: a function that ends a reply which has no end of its own, such as a stream of
        events; C{None} for all other replies.
    """

    site: RequestObserver  # type: ignore[assignment] # this is always the Site of the package authotron.web
    channel: Channel
    content: BytesIO
    outcome: Outcome | None = None
    reason = ""
    asked: Asked | None = None
    began = 0.0
    end_reply: Callable[[], object] | None = None
    _hosts: Sequence[str] | None = None

    def process(self) -> None:
        """
        Find the contract of a proxy's request by the literal bytes of its target, and pass only the
        path of the contract on to Klein, without the part that the client can choose.

        The request C{OPTIONS *} is answered like a request for an unknown path, where Twisted alone
        would answer 200. The path of a route that the configuration switches off also counts as an
        unknown path.
        """
        self.site = self.channel.site  # type: ignore[attr-defined] # the Site sets this attribute
        contracts = self.site.contracts()
        self.asked = contracts.find(self.uri) if contracts else None
        if self.asked is not None:
            self.path = self.asked.endpoint.path.encode()
        elif self.path == b"*" or self.site.is_off(self.path):
            self.path = _UNKNOWN
        super().process()

    def gotLength(self, length: int | None) -> None:
        # C{BytesIO} replaces the temporary file to which Twisted would write a large body, because
        # the gateway rejects a large body.
        self.content = BytesIO()
        if length is not None and length > LARGEST_BODY:
            # If the header Expect were kept, Twisted would ask the client for a body that is then
            # rejected (100 Continue).
            self.requestHeaders.removeHeader(b"Expect")
            self.channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def handleContentChunk(self, data: bytes) -> None:
        super().handleContentChunk(data)
        if self.content.tell() > LARGEST_BODY:
            self.channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def render(self, resrc: IResource) -> None:
        """
        Answer the request, and measure how long its callbacks block the reactor.

        Klein calls this method a second time if a route has returned a resource, which sends a
        reply without an end, such as a stream of events.
        """
        if self.began:
            super().render(resrc)
            return
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
        """Return the reply to a request that Klein or werkzeug would misread, or C{None}."""
        hosts = self.requestHeaders.getRawHeaders(b"Host", [])
        is_missing = not hosts and self.clientproto == b"HTTP/1.1"
        is_wrong = any(each and not HOST_FIELD.fullmatch(each) for each in hosts)
        if is_missing or is_wrong or len(hosts) > 1:
            self._close_after_reply()
            return replies.BAD_REQUEST  # RFC 9112 section 3.2 requires 400 for a wrong Host.
        if not any(hosts):
            # HTTP/1.0 requests may lack Host, and clients send an empty one if the target has no
            # host (RFC 9110 section 7.2), but werkzeug needs a value, whatever it is.
            self._hosts = ["" for _ in hosts]
            self.requestHeaders.setRawHeaders(b"Host", [b"localhost"])
        if self.asked is not None and self.asked.endpoint.methods is None:
            return None
        if not _PATH.fullmatch(self.path):
            return replies.NOT_FOUND
        if self.method != self.method.upper():
            # Methods are case-sensitive (RFC 9110 section 9.1), but werkzeug ignores case.
            return self.site.wrong_method(self.path.decode("ascii"))
        return None

    def wind_up(self) -> None:
        """End a reply that would never end, because the gateway stops; ignore all other replies."""
        if self.end_reply is not None:
            self.end_reply()

    def _close_after_reply(self) -> None:
        self.channel.persistent = False
        if self.clientproto == b"HTTP/1.1":  # A connection of HTTP/1.0 is closed in any case.
            self.setHeader(b"Connection", b"close")

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status code of the reply, with its phrase also for codes unknown to Twisted."""
        super().setResponseCode(code, message or _PHRASES.get(code))

    def send(self, reply: Reply) -> None:
        """Send a reply to this request without calling Klein."""
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
    def sender(self) -> str:
        """The address of the client, or of the peer if a trusted proxy does not state it."""
        contracts = self.site.contracts()
        client = None
        if contracts is not None:
            endpoint = self.asked.endpoint if self.asked else contracts.direct
            client = endpoint.client(self.question(contracts))
        return client or self.peer or "unix"

    @property
    def peer(self) -> str | None:
        """The address at the other end of the connection, or C{None} for a UNIX socket."""
        return getattr(self.client, "host", None)

    def question(self, contracts: Contracts) -> Question:
        """Return the parts of this request that a contract may read."""
        target = self.uri if self.asked is None else self.asked.target
        method = self.method.decode("latin-1")
        proxies = contracts.proxies
        return Question(method, target, self.header_values, self.peer, proxies, self._has_twin)

    def _has_twin(self, name: str) -> bool:
        """Whether the request has a header whose name differs from C{name} only in underscores."""
        wanted = name.lower().encode("ascii")
        dashed = wanted.replace(b"_", b"-")
        names = (each.lower() for each, _ in self.requestHeaders.getAllRawHeaders())
        return any(each != wanted and each.replace(b"_", b"-") == dashed for each in names)

    @property
    def authorization(self) -> bytes | None:
        """The first C{Authorization} header of the request."""
        return self.requestHeaders.getRawHeaders(b"Authorization", [None])[0]

    @property
    def method_label(self) -> str:
        """
        The method of the request as a metric label, which is C{other} for a method that HTTP does
        not define.
        """
        method = self.method.decode("ascii", "replace")
        return method if method in METHODS else "other"

    @property
    def media_type(self) -> str:
        """
        The media type of the request body: the header C{Content-Type} in lower case, without
        parameters.
        """
        given = self.requestHeaders.getRawHeaders(b"Content-Type", [b""])[0].decode("latin-1")
        return given.partition(";")[0].strip().lower()

    def header_values(self, name: str) -> list[str]:
        """
        Return all values of a header of the request; bytes beyond ASCII are decoded to characters
        that match no host or address.
        """
        if self._hosts is not None and name.lower() == "host":
            return [*self._hosts]
        values = self.requestHeaders.getRawHeaders(name.encode("ascii"), [])
        return [value.decode("latin-1") for value in values]
