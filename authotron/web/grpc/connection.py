"""
An HTTP/2 connection that carries gRPC calls, within limits of frames, memory and time.

The package h2 implements HTTP/2 without any input or output; this module connects h2 to a transport
of Twisted. Whatever the peer sends, the memory of a connection is bounded: a partial frame, the
headers of one call, L{MOST_CALLS} messages that share the memory budget of the process, and the
answers that the peer does not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.limits.unfinished_heads import UnfinishedHeads
from authotron.web.channel import LAST_CALL
from authotron.web.grpc import calls
from authotron.web.grpc.calls import LARGEST_MESSAGE, PREFIX, Answer, Method, Status
from authotron.web.grpc.frames import LONGEST_FRAME, MANY_RESETS, Allowance, FrameReader, Violation
from authotron.web.trusted_peers import PeerConnection

MOST_CALLS = 100
"""
Maximum number of gRPC calls at once on a connection. Envoy opens further connections if it has more
calls at once, and assumes this maximum itself until it learns the limit.
"""

LONGEST_HEADERS = 65_536
"""
Maximum number of bytes in the headers of a gRPC call, as RFC 9113 section 10.5.1 counts them.
Longer headers end the connection, so the maximum is above what Envoy accepts from clients (60 KiB),
because Envoy may repeat some of the client's headers in its call.
"""

PATIENCE = 10.0
"""
Seconds in which a peer must finish what it has begun to send (the preface, a frame or the message
of a call), and in which it must have read an answer.
"""

_TICK = 2.0
"""Interval in seconds at which a connection looks for timeouts that have passed."""

_FRAMES_AT_ONCE = 64
"""Maximum number of frames that a connection handles before other connections get their turn."""

_WINDOW = 1_048_576
"""
Number of bytes that a peer may send on all calls together before it must wait for the
gateway.
"""

_LAST_STREAM = 2**31 - 1
_CONTENT_TYPE = (b"content-type", b"application/grpc")
_STARTED = ((b":status", b"200"), _CONTENT_TYPE)
_SUCCEEDED = ((b"grpc-status", b"0"),)


class _Connection(H2Connection):
    """
    The state of an HTTP/2 connection in h2, which remembers fewer closed streams than is the
    default.
    """

    MAX_CLOSED_STREAMS = 1_000


def _settings(most: int) -> Settings:
    """Return the HTTP/2 settings of the gateway, with a maximum number of streams."""
    return Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: most,
            SettingCodes.MAX_HEADER_LIST_SIZE: LONGEST_HEADERS,
            SettingCodes.INITIAL_WINDOW_SIZE: LARGEST_MESSAGE + PREFIX,
            SettingCodes.MAX_FRAME_SIZE: LONGEST_FRAME,
        },
    )


class SharedState(Protocol):
    """The state that all gRPC connections of a process share."""

    clock: IReactorTime
    unfinished: UnfinishedHeads
    methods: Mapping[bytes, Method]
    idle_timeout: float

    def violated(self, peer: str | None, reason: str, /) -> None:
        """Note that a gRPC connection was closed because of what its peer has sent."""

    def failed(self, answer: Answer, peer: str | None, /) -> None:
        """Note that a gRPC call was answered without its method being called."""


class _Call:
    """
    One call.

    @ivar method: the gRPC method that answers the call.
    @ivar since: the time at which the call began, or at which its answer was ready.
    @ivar received: the bytes of the message that were received so far.
    @ivar counted: how many bytes of the message are counted in the memory budget.
    @ivar pending: the Deferred that fires when the answer is ready.
    @ivar unsent: the part of the answer that was not sent yet, or C{None} if there is no answer
        yet.
    """

    __slots__ = ("counted", "has_ended", "method", "pending", "received", "since", "unsent")

    def __init__(self, method: Method, since: float) -> None:
        self.method = method
        self.since = since
        self.received = bytearray()
        self.counted = 0
        self.has_ended = False
        self.pending: Deferred[None] | None = None
        self.unsent: bytes | None = None


@implementer(IPushProducer)
class Connection(PeerConnection):
    """
    The HTTP/2 connection of a proxy that calls gRPC methods.

    @ivar calls: the calls that are not answered completely, by the numbers of their streams.
    """

    transport: Any  # a TCP, UNIX or TLS transport; no interface has all methods that are used here
    _log = Logger()

    def __init__(self, shared: SharedState, peer: str | None) -> None:
        """@param peer: the address at the other end, or C{None} for a UNIX socket."""
        self._shared = shared
        self._clock = shared.clock
        self._peer = peer
        self._frames = FrameReader(shared.clock)
        self._given_up = Allowance(shared.clock, MANY_RESETS)
        self._http2 = _Connection(
            H2Configuration(client_side=False, validate_outbound_headers=False)
        )
        self.calls: dict[int, _Call] = {}
        self._counted = 0
        self._began = self._used = shared.clock.seconds()
        self._partial_since: float | None = self._began
        self._timer: IDelayedCall | None = None
        self._batch: IDelayedCall | None = None
        self._last_call: IDelayedCall | None = None
        self._has_begun = False
        self._is_closing = False
        self._accepts = True
        self._act_on: dict[type[Event], Callable[[Any], None]] = {
            RequestReceived: self._begin,
            DataReceived: self._receive,
            StreamEnded: self._end,
            StreamReset: self._reset,
            WindowUpdated: self._window_updated,
            RemoteSettingsChanged: self._settings_changed,
        }

    # --- the life of the connection ---

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self._timer = self._clock.callLater(_TICK, self._tick)

    def _write_preface(self) -> None:
        """
        Write the HTTP/2 settings, as soon as the peer has sent its first bytes.

        If the settings were written before, Twisted could not send them by TLS before the
        handshake, and would pause this producer, which would then stop reading the handshake.
        """
        self._has_begun = True
        self._http2.local_settings = _settings(MOST_CALLS)
        self._http2.decoder.max_header_list_size = LONGEST_HEADERS
        self._http2.initiate_connection()
        # A peer may open more calls before it learns the limit. h2 would end the connection, but
        # calls above the limit are refused one by one, so that the peer may repeat them.
        self._http2.local_settings = _settings(_LAST_STREAM)
        self._http2.increment_flow_control_window(_WINDOW - 65_535)
        self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_closing = True
        for delayed in (self._timer, self._batch, self._last_call):
            if delayed is not None and delayed.active():
                delayed.cancel()
        for stream in [*self.calls]:
            self._forget(stream)
        self._count(0)
        self.on_lost(self)

    def dataReceived(self, data: bytes) -> None:
        if self._is_closing:
            return
        if not self._has_begun:
            self._write_preface()
        self._frames.feed(data)
        if self._batch is None:
            self._advance()

    def _advance(self) -> None:
        """
        Act on the HTTP/2 frames that were received, one by one.

        If there are more than 64 frames, the rest waits until the next turn of the reactor, and the
        connection reads no more until then.
        """
        self._batch = None
        is_all = False
        try:
            for _ in range(_FRAMES_AT_ONCE):
                frame = self._frames.take()
                if not frame:
                    is_all = True
                    break
                for event in self._http2.receive_data(frame):
                    self._act(event)
                if self._is_closing:
                    return
        except Violation as violation:
            self._abandon(str(violation), violation.code)
            return
        except ProtocolError as error:  # h2 has written a GOAWAY frame already
            self._abandon(f"{type(error).__name__} of HTTP/2", None)
            return
        self._flush()
        if is_all:
            self._note_partial()
            self._close_if_done()
        else:
            self._batch = self._clock.callLater(0, self._resume)
            self.transport.pauseProducing()

    def _act(self, event: Event) -> None:
        act = self._act_on.get(type(event))
        if act is not None:
            act(event)

    def _resume(self) -> None:
        """Act on the next frames; read from the connection again if no frame is left."""
        self._advance()
        if self._batch is None and not self._is_closing:
            self.transport.resumeProducing()

    def _note_partial(self) -> None:
        """
        Note since when the peer owes the rest of a frame, and count the bytes of the part that has
        arrived.
        """
        if self._frames.is_between_frames:
            self._partial_since = None
        elif self._partial_since is None:
            self._partial_since = self._clock.seconds()
        if len(self._frames) != self._counted and not self._count(len(self._frames)):
            self._abandon("no memory for further frames", ErrorCodes.ENHANCE_YOUR_CALM)

    def _count(self, size: int) -> bool:
        """Count the bytes of a partial frame; return whether the memory budget has room."""
        has_room = self._shared.unfinished.resize(self._peer, self._counted, size)
        self._counted = size if has_room else self._counted
        return has_room

    def _flush(self) -> None:
        """Write the bytes that h2 wants to send."""
        data = self._http2.data_to_send()
        if data:
            self.transport.write(data)

    # --- one gRPC call ---

    def _begin(self, event: RequestReceived) -> None:
        """Begin a gRPC call, or refuse it if there are too many."""
        stream = event.stream_id
        assert stream is not None
        if len(self.calls) >= MOST_CALLS or not self._accepts:
            self._http2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            self._frames.spend()
            return
        self._used = self._clock.seconds()
        headers = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
        found = calls.find_method(self._shared.methods, headers)
        if isinstance(found, Answer):
            call = self.calls[stream] = _Call(_unanswered, self._used)
            call.has_ended = event.stream_ended is not None
            self._fail(stream, found)
        else:
            self.calls[stream] = _Call(found, self._used)

    def _receive(self, event: DataReceived) -> None:
        """Add received bytes to the message of a gRPC call."""
        stream = event.stream_id
        assert stream is not None
        data = event.data or b""
        self._http2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
        call = self.calls.get(stream)
        if call is None or call.unsent is not None:
            return
        if not self._shared.unfinished.resize(self._peer, call.counted, call.counted + len(data)):
            self._fail(stream, calls.failed(Status.RESOURCE_EXHAUSTED, "no memory for the message"))
            return
        call.counted += len(data)
        call.received += data
        call.has_ended = event.stream_ended is not None
        refusal = calls.check_prefix(call.received)
        if refusal is not None:
            self._fail(stream, refusal)

    def _end(self, event: StreamEnded) -> None:
        """Answer a gRPC call whose message is complete."""
        stream = event.stream_id
        assert stream is not None
        call = self.calls.get(stream)
        if call is None or call.unsent is not None:
            return
        call.has_ended = True
        message = calls.message_of(call.received)
        call.received.clear()
        if isinstance(message, Answer):
            self._fail(stream, message)
            return
        try:
            answer = call.method(message, self._peer)
        except Exception:  # noqa: BLE001 - an unexpected exception fails one call, and does not end the others
            self._broken(Failure(), stream)
            return
        if isinstance(answer, Answer):
            self._answer(stream, answer)
            return
        call.pending = answer.addCallback(lambda found: self._answer_later(stream, found))
        call.pending.addErrback(lambda failure: failure.trap(CancelledError) and None)
        call.pending.addErrback(self._broken, stream)

    def _answer_later(self, stream: int, answer: Answer) -> None:
        if stream in self.calls and not self._is_closing:
            self._answer(stream, answer)
            self._flush()

    def _broken(self, failure: Failure, stream: int) -> None:
        self._log.failure("answering a request failed", failure, event="routes.request.broken")
        self._answer_later(stream, calls.failed(Status.INTERNAL, "internal error"))

    def _fail(self, stream: int, answer: Answer) -> None:
        """Answer a gRPC call without calling its method."""
        self._shared.failed(answer, self._peer)
        self._answer(stream, answer)

    def _answer(self, stream: int, answer: Answer) -> None:
        """Send the answer to a call, as far as the peer accepts it now."""
        call = self.calls[stream]
        call.pending = None
        call.since = self._used = self._clock.seconds()
        self._frames.answered()
        if answer.http != HTTPStatus.OK:
            headers = [(b":status", b"%d" % answer.http)]
            self._http2.send_headers(stream, headers, end_stream=True)
            self._complete(stream)
        elif answer.status:
            trailers = (
                *_STARTED,
                (b"grpc-status", b"%d" % answer.status),
                (b"grpc-message", answer.text.encode("ascii", "replace")),
            )
            self._http2.send_headers(stream, trailers, end_stream=True)
            self._complete(stream)
        else:
            self._http2.send_headers(stream, _STARTED)
            call.unsent = calls.with_prefix(answer.message)
            self._send(stream)

    def _send(self, stream: int) -> None:
        """
        Send the part of the answer that the peer accepts, and complete the call if
        nothing is left.
        """
        unsent = self.calls[stream].unsent or b""
        while unsent:
            size = min(
                self._http2.local_flow_control_window(stream), self._http2.max_outbound_frame_size
            )
            if size <= 0:
                self.calls[stream].unsent = unsent
                return
            self._http2.send_data(stream, unsent[:size])
            unsent = unsent[size:]
        self._http2.send_headers(stream, _SUCCEEDED, end_stream=True)
        self._complete(stream)

    def _complete(self, stream: int) -> None:
        """
        Forget a call that was answered; a peer that is still sending the call is
        asked to stop.
        """
        if not self.calls[stream].has_ended:
            self._http2.reset_stream(stream, ErrorCodes.NO_ERROR)
        self._forget(stream)
        self._close_if_done()

    def _forget(self, stream: int) -> None:
        call = self.calls.pop(stream)
        self._shared.unfinished.resize(self._peer, call.counted, 0)
        if call.pending is not None:
            call.pending.cancel()

    # --- changes that the peer makes: calls it gives up, and room for answers ---

    def _reset(self, event: StreamReset) -> None:
        """
        Cancel a call that the peer has given up, or that h2 has ended because the peer broke the
        rules of HTTP/2.
        """
        assert event.stream_id is not None
        if not event.remote_reset:
            self._frames.spend()
        if event.stream_id in self.calls:
            self._forget(event.stream_id)
            self._close_if_done()
            if not self._given_up.spend():
                self.close_when_idle()

    def _window_updated(self, event: WindowUpdated) -> None:
        if event.stream_id:
            self._send_rest([event.stream_id])
        else:
            self._send_rest([*self.calls])

    def _settings_changed(self, _event: RemoteSettingsChanged) -> None:
        self._send_rest([*self.calls])

    def _send_rest(self, streams: list[int]) -> None:
        """Send the rest of the answers, because the peer accepts more bytes now."""
        for stream in streams:
            call = self.calls.get(stream)
            if call is not None and call.unsent:
                self._send(stream)

    # --- timeouts, and the end of the connection ---

    def _tick(self) -> None:
        """Give up calls and frames that take too long."""
        now = self._clock.seconds()
        overdue = now - PATIENCE
        self._timer = self._clock.callLater(_TICK, self._tick)
        if self._partial_since is not None and self._partial_since <= overdue:
            self._abandon("a frame was not completed in time", ErrorCodes.PROTOCOL_ERROR)
            return
        for stream, call in [*self.calls.items()]:
            if call.pending is None and call.since <= overdue:
                self._http2.reset_stream(stream, ErrorCodes.CANCEL)
                self._forget(stream)
        self._flush()
        self._close_if_done()
        if not self.calls and now - self._used >= self._shared.idle_timeout:
            self.close_when_idle()

    def close_when_idle(self) -> None:
        """
        Close the connection as soon as its calls are answered.

        Before the connection ends, the peer learns that it must use another one. Calls that the
        peer has sent already are still answered (RFC 9113 section 6.8).
        """
        if not self._has_begun:
            self._close()
        elif not self._is_closing and self._last_call is None:
            self._go_away(_LAST_STREAM)
            self._last_call = self._clock.callLater(LAST_CALL, self._refuse_calls)

    def _refuse_calls(self) -> None:
        """Answer no further calls, and close the connection once all earlier calls are answered."""
        self._accepts = False
        self._go_away(self._http2.highest_inbound_stream_id)
        self._close_if_done()

    def _go_away(self, last: int, code: int = 0) -> None:
        """
        Write a GOAWAY frame.

        The frame is not made by h2, which would not send the answers of earlier calls after a
        GOAWAY frame.
        """
        self._flush()
        frame = GoAwayFrame(0, last_stream_id=last, error_code=code)
        self.transport.write(frame.serialize())

    def _close_if_done(self) -> None:
        if not self.calls and (not self._accepts or self._frames.is_leaving):
            self._close()

    def _abandon(self, reason: str, code: ErrorCodes | None) -> None:
        """
        Close the connection because of what the peer has sent.

        @param code: the error code for the GOAWAY frame, or C{None} if h2 has written that frame
            already.
        """
        self._shared.violated(self._peer, reason)
        if code is not None and self._has_begun:
            self._go_away(self._http2.highest_inbound_stream_id, code)
        self._close()

    def _close(self) -> None:
        """
        Close the connection once all bytes are written; give up the calls that are not answered.

        A connection on which nothing was received is aborted, because TLS may have no keys yet.
        """
        if self._is_closing:
            return
        self._flush()
        self._is_closing = True
        for stream in [*self.calls]:
            self._forget(stream)
        for delayed in (self._timer, self._batch, self._last_call):
            if delayed is not None and delayed.active():
                delayed.cancel()
        self._timer = self._clock.callLater(PATIENCE, self.transport.abortConnection)
        self.transport.unregisterProducer()
        if self._has_begun:
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()

    # --- IPushProducer: while a peer does not read its answers, the gateway does not read its calls
    # ---

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        if self._batch is None:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Do nothing: the transport is closed, and Twisted calls L{connectionLost} next."""


def _unanswered(_message: bytes, _peer: str | None) -> Answer:
    """Answer a gRPC call for which there is no method."""
    return calls.failed(Status.UNIMPLEMENTED, "")
