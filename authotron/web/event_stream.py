"""
One open reply of C{GET /events}, which sends events to its client as the events happen, at the
speed at which the client reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from authotron.gateway.event_log import Event, EventLog
from authotron.web import event_frames
from authotron.web.request import Request

_PIECE = 16 * 1024
"""Number of bytes that are passed to the connection at once."""

PATIENCE = 30.0
"""Seconds after which a connection is aborted if its client reads nothing."""


class Owner(Protocol):
    """The part of the process that keeps the list of open streams."""

    def ended(self, stream: EventStream) -> None:
        """Remove a stream from the list, because it has ended."""


@implementer(IResource, IPushProducer)
@define(eq=False)
class EventStream:
    """
    Sends to one client the events that the client may see.

    A stream of events has no queue of its own. The stream remembers only the number of the last
    event that was sent, and reads further events from the log when the client has read the earlier
    ones. If further events have left the log before the client has read the earlier ones, the
    client is too slow, and its connection is aborted. A client that was too slow connects again,
    and receives the present state.

    @ivar sees: returns whether the client may see an event.
    """

    isLeaf = True

    _log: EventLog
    _clock: IReactorTime
    _owner: Owner
    _heartbeat: float
    sees: Callable[[Event], bool]
    _sent: int
    _opening: Iterator[bytes]
    _request: Request | None = field(default=None, init=False, repr=False)
    _is_paused: bool = field(default=False, init=False)
    _is_writing: bool = field(default=False, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False, repr=False)

    def getChildWithDefault(self, _name: bytes, _request: Any) -> Any:
        """Never called: the resource is a leaf."""
        return self

    def putChild(self, _path: bytes, _child: Any) -> None:
        """Never called: the resource is a leaf."""

    def render(self, request: Request) -> int:
        """Begin to send events, and keep the reply open."""
        if request.channel is None:  # the client has left
            self._owner.ended(self)
            return NOT_DONE_YET
        self._request = request
        request.notifyFinish().addBoth(self._finished)
        request.end_reply = self.end
        request.registerProducer(self, streaming=True)
        self._wait(self._heartbeat)
        self.send()
        return NOT_DONE_YET

    # Sending

    def send(self) -> None:
        """Send all further events, as far as the connection takes them."""
        if self._is_writing or self._request is None:
            return
        self._is_writing = True
        try:
            while not self._is_paused and self._request is not None and (piece := self._piece()):
                self._request.write(piece)
        finally:
            self._is_writing = False

    def _piece(self) -> bytes:
        """Return the next bytes to send, which are empty if there is nothing to send at present."""
        pieces, size = [], 0
        for each in self._frames():
            pieces.append(each)
            size += len(each)
            if size >= _PIECE:
                break
        return b"".join(pieces)

    def _frames(self) -> Iterator[bytes]:
        yield from self._opening
        if not self._log.has_all_after(self._sent):
            self.abort()
            return
        for number, event in self._log.after(self._sent):
            self._sent = number
            if self.sees(event):
                yield event_frames.frame(event.name, event.text, self._log.id_of(number))

    # Time

    def _wait(self, seconds: float) -> None:
        self._timer = self._clock.callLater(seconds, self._beat)

    def _beat(self) -> None:
        """
        Send a heartbeat, or abort the connection if the client has read nothing for L{PATIENCE}
        seconds.
        """
        if self._is_paused:
            self.abort()
        elif self._request is not None:
            # Events that the client may not see have moved the position as well.
            at = self._log.id_of(self._sent)
            self._request.write(event_frames.HEARTBEAT + event_frames.position(at))
            if not self._is_paused:
                self._wait(self._heartbeat)

    def pauseProducing(self) -> None:
        """Stop sending, because the client does not read as fast as events happen."""
        self._is_paused = True
        self._stop_timer()
        self._wait(PATIENCE)

    def resumeProducing(self) -> None:
        """Go on sending, because the client has read what was sent."""
        self._is_paused = False
        self._stop_timer()
        self._wait(self._heartbeat)
        self.send()

    def stopProducing(self) -> None:
        """Do nothing more than at the end of the connection, which follows."""

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # How a stream ends

    def end(self, reason: str = "") -> None:
        """
        End the reply in an orderly way.

        @param reason: why the stream ends, which the client receives as the last event, C{end};
            without a reason the client is expected to connect again at once.
        """
        request = self._request
        if request is None:
            return
        if self._is_paused:
            self.abort()
            return
        if reason:
            request.write(event_frames.frame("end", reason))
        request.unregisterProducer()
        request.finish()

    def abort(self) -> None:
        """Close the connection at once, without sending what the client has not read."""
        if self._request is not None:
            self._request.channel.transport.abortConnection()

    def _finished(self, _outcome: Failure | None) -> None:
        self._request = None
        self._stop_timer()
        self._owner.ended(self)
