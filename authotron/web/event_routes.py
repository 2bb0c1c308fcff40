"""
The route C{GET /events}: a client is informed of revocations, and of changes of policies and keys,
as they happen (Server-Sent Events).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import define, field
from klein import Response
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import start, wait_all, was_cancelled
from authotron.config.events import EventsConfig
from authotron.gateway.event_log import Event
from authotron.gateway.event_source import EventSource
from authotron.gateway.gateway import LiveGateway
from authotron.model.authentication import Authentication
from authotron.web import event_frames, replies
from authotron.web.event_stream import EventStream
from authotron.web.later_routes import Call
from authotron.web.replies import Reply
from authotron.web.routing import EarlyReply

CHECK = 0.25
"""
Seconds after an event at which the credentials of all streams are checked again; events that come
shortly after one another cause one check.
"""

LONGEST = 3600.0
"""Maximum seconds for which a stream of events is open; its client then connects again."""

_RETRY = 2_000
"""Milliseconds after which a client whose connection was lost connects again."""

_TYPE = "text/event-stream"

_HEADERS: dict[str | bytes, Any] = {
    b"Content-Type": _TYPE.encode(),
    b"Cache-Control": b"no-store",
    # Without this header nginx collects events until a buffer is full.
    b"X-Accel-Buffering": b"no",
}

_FULL = replies.outage("Too many streams of events are open")
"""
The reply to a client if this process, or the user, has the maximum number of open streams of
events.
"""

_TRANSIENT = 500
"""
The lowest status code of an outage, such as that of an identity provider; an outage does not end a
stream of events.
"""


async def stream(call: Call) -> Reply:
    """
    Answer C{GET /events} with an endless reply.

    @raise EarlyReply: the client is not authenticated, or too many streams are open.
    """
    client = await call.authentication()
    if call.request.method == b"HEAD":
        return replies.bytes_reply(200, _TYPE, b"", replies.NO_STORE)
    streams = _streams(call)
    if not streams.has_room(client):
        raise EarlyReply(_FULL)
    return StreamReply(200, b"", 0, streams.open(call, client))


def _streams(call: Call) -> Streams:
    """
    Return the open streams of events of this process; the log of events begins with the first
    client.
    """
    found = call.serving.streams
    if isinstance(found, Streams):
        return found
    source = EventSource(call.serving, call.clock)
    call.serving.streams = created = Streams(call.serving, call.clock, source)
    source.listeners[created.notify] = None
    call.serving.metrics.watch_streams(lambda: len(created))
    source.start()
    return created


@define
class StreamReply(Reply):
    """
    A reply whose body is sent piece by piece, and has no length.

    @ivar stream: the stream of events, which writes the body.
    """

    stream: EventStream = field(repr=False)

    def response(self) -> Response:
        return Response(self.status, _HEADERS, self.stream)


@define(eq=False)
class Viewer:
    """
    The client of one stream of events, and what the client may see.

    @ivar authentication: how the client was authenticated last.
    """

    _call: Call
    authentication: Authentication
    began: float

    def sees(self, event: Event) -> bool:
        """Return whether the client may see an event."""
        roles = self._call.serving.gateway.config.file.tokens.introspectors
        is_introspector = not set(roles).isdisjoint(self.authentication.identity.roles)
        return is_introspector or event.concerns(self.authentication)

    async def why_to_end(self) -> str | None:
        """
        Authenticate and authorize the client again; return why the stream ends, in one word, or
        C{None} if the client may go on listening.
        """
        if self._call.serving.gateway.config.file.events is None:
            return "off"
        if self._call.clock.seconds() >= self.began + LONGEST:
            return "renew"
        try:
            self.authentication = await self._call.authentication()
        except EarlyReply as refused:
            return "refused" if refused.reply.status < _TRANSIENT else None
        expires = self.authentication.expires_at()
        is_over = expires is not None and self._call.clock.seconds() >= expires
        return "expired" if is_over else None


@define(eq=False)
class Streams:
    """The open streams of events of one process, whose number is limited."""

    _serving: LiveGateway[Reply]
    _clock: IReactorTime
    _source: EventSource
    _open: dict[EventStream, Viewer] = field(factory=dict, init=False)
    _next_check: IDelayedCall | None = field(default=None, init=False)
    _checking: Deferred[None] | None = field(default=None, init=False)
    _log = Logger()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def _config(self) -> EventsConfig:
        return self._serving.gateway.config.file.events or EventsConfig()

    def has_room(self, client: Authentication) -> bool:
        """Return whether a client may open a further stream of events."""
        user = client.identity[:2]
        own = sum(each.authentication.identity[:2] == user for each in self._open.values())
        config = self._config
        return len(self._open) < config.max_streams and own < config.max_streams_per_user

    def open(self, call: Call, client: Authentication) -> EventStream:
        """
        Open a stream of events, which begins after the last event that the client received, or with
        the present state.
        """
        viewer = Viewer(call, client, call.clock.seconds())
        log = self._source.log
        last = call.request.requestHeaders.getRawHeaders(b"Last-Event-ID", [b""])[-1]
        resumed = log.number_of(last.decode("latin-1"))
        opening = self._opening(viewer) if resumed is None else iter([event_frames.retry(_RETRY)])
        sent = log.newest if resumed is None else resumed
        found = EventStream(
            log, call.clock, self, self._config.heartbeat, viewer.sees, sent, opening
        )
        self._open[found] = viewer
        self._check_later(self._until_next_check())
        return found

    def _opening(self, viewer: Viewer) -> Iterator[bytes]:
        """Yield the frames that describe the present state, for a client that cannot resume."""
        log = self._source.log
        at = log.id_of(log.newest)
        yield event_frames.retry(_RETRY) + event_frames.frame("reset", "{}")
        for each in self._source.state():
            if viewer.sees(each):
                yield event_frames.frame(each.name, each.text)
        yield event_frames.frame("ready", "{}", at)

    def ended(self, stream: EventStream) -> None:
        """Remove a stream of events that has ended."""
        self._open.pop(stream, None)

    def notify(self) -> None:
        """
        Send new events to all clients, and check L{CHECK} seconds later whether the clients may
        still listen.
        """
        for each in [*self._open]:
            each.send()
        self._check_later(CHECK)

    # The credentials of the clients

    def _until_next_check(self) -> float:
        """Return the seconds until the first credential expires, or a heartbeat is due."""
        now = self._clock.seconds()
        ends = (viewer.authentication.expires_at() for viewer in self._open.values())
        return min([self._config.heartbeat, *(max(0.0, each - now) for each in ends if each)])

    def _check_later(self, seconds: float) -> None:
        planned = self._next_check
        if planned is not None and planned.active():
            if planned.getTime() <= self._clock.seconds() + seconds:
                return
            planned.cancel()
        self._next_check = self._clock.callLater(seconds, self._check)

    def _check(self) -> None:
        """End the streams whose clients may not listen any more."""
        self._next_check = None
        if self._checking is not None:
            self._check_later(CHECK)
            return
        self._checking = Deferred.fromCoroutine(self._check_all())
        self._checking.addErrback(self._failed)
        if self._checking.called:
            self._checking = None

    async def _check_all(self) -> None:
        checks = [start(self._check_one(*each)) for each in [*self._open.items()]]
        try:
            for outcome in await wait_all(checks):
                if isinstance(outcome, Failure):
                    self._failed(outcome)
        finally:
            self._checking = None
        if self._open:
            self._check_later(self._until_next_check())

    async def _check_one(self, stream: EventStream, viewer: Viewer) -> None:
        why = await viewer.why_to_end()
        if why is not None:
            stream.end(json.dumps({"reason": why}))

    def _failed(self, failure: Failure) -> None:
        """Abort all streams, because it is not certain that their clients still may listen."""
        if was_cancelled(failure):
            return
        self._log.failure(
            "checking the credentials of open streams of events failed, closing all",
            failure,
            event="events.check.broken",
        )
        for each in [*self._open]:
            each.abort()
