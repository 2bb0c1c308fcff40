"""
Cuts the bytes of an HTTP/2 connection into frames, and refuses floods of frames before they are
parsed.

The package h2 implements HTTP/2, but does not limit how many frames a peer may send that carry no
call. The number of frames is limited here, by type and size alone, at the price of reading the nine
bytes before each frame (RFC 9113 section 4.1).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from attrs import define, field
from h2.errors import ErrorCodes
from twisted.internet.interfaces import IReactorTime

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The preface, with which a client begins an HTTP/2 connection (RFC 9113 section 3.4)."""

LONGEST_FRAME = 16_384
"""
Maximum number of bytes in a frame: the smallest limit that HTTP/2 lets a receiver set
for a peer.
"""

LONGEST_BLOCK = 65_536
"""Maximum number of compressed bytes in the headers of a gRPC call, in all frames together."""

MOST_FRAMES = 500
"""
Number of frames without a use, such as PING, that a peer may send at once, and also the number of
further ones that it may send in each second.
"""

MOST_RESETS = 1_500
"""
Number of calls that a peer may give up at once, and also the number of further ones that it may
give up in each second. A proxy gives up a call for each client that leaves, so the number is large.
"""

MANY_RESETS = 500
"""
Number of unanswered calls, at once and in each second, that a peer may give up before the gateway
asks it for another connection. A proxy that gives up all calls of a connection after 200 ms, as
Envoy does by default if the gateway is slow, stays below this number.
"""

FRAMES_PER_CALL = 8
"""
Number of frames without a use, such as PING, that a peer may send in addition for each answered
call.
"""

_SMALL = 1_024
"""Number of bytes below which a DATA frame that does not end a call counts as useless."""

_HEADER = 9
"""Number of bytes in the header of an HTTP/2 frame, before its payload."""


class _Type(IntEnum):
    """The types of HTTP/2 frames that are treated in a special way (RFC 9113 section 6)."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    GOAWAY = 7
    CONTINUATION = 9


class _Flag(IntFlag):
    """The flags of HTTP/2 frames that the gateway reads."""

    END_STREAM = 1
    END_HEADERS = 4


class Violation(Exception):
    """
    A peer sends more frames or bytes than the gateway accepts, or no HTTP/2.

    @ivar code: the error code for the GOAWAY frame that ends the connection.
    """

    def __init__(self, reason: str, code: ErrorCodes = ErrorCodes.ENHANCE_YOUR_CALM) -> None:
        super().__init__(reason)
        self.code = code


@define(eq=False)
class Allowance:
    """
    How many HTTP/2 frames of a kind a peer may still send.

    The number of frames grows with the time and with each answered call, up to a maximum.
    """

    _clock: IReactorTime
    _most: int
    _left: float = field(init=False)
    _since: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._left = float(self._most)
        self._since = self._clock.seconds()

    def spend(self) -> bool:
        """Count one frame; return whether the peer was allowed to send the frame."""
        self._left -= 1
        if self._left >= 0:
            return True
        now = self._clock.seconds()
        earned = max(0.0, now - self._since) * self._most
        self._since = now
        self._left = min(self._left + earned, float(self._most))
        return self._left >= 0

    def earn(self) -> None:
        """Count an answered call, after which the peer may send more frames."""
        self._left = min(self._left + FRAMES_PER_CALL, float(self._most))


class FrameReader:
    """
    Reads the HTTP/2 frames that a peer sends, and limits them.

    Frames without a use are limited: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, unknown ones, and
    DATA frames with few bytes or none. RST_STREAM frames, which give up a call, have a limit of
    their own.

    @ivar is_leaving: whether the peer has sent a GOAWAY frame, and so will send no more calls.
        GOAWAY frames are not passed on to h2, because h2 could not send the answers of earlier
        calls afterwards.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._useless = Allowance(clock, MOST_FRAMES)
        self._resets = Allowance(clock, MOST_RESETS)
        self._unread = bytearray()
        self._has_preface = False
        self._block: int | None = None
        self.is_leaving = False

    def __len__(self) -> int:
        """Return the number of bytes that were received but not yet taken as frames."""
        return len(self._unread)

    @property
    def is_between_frames(self) -> bool:
        """Whether all frames received so far, and all headers that they contain, are complete."""
        return self._has_preface and not self._unread and self._block is None

    def answered(self) -> None:
        """
        Count an answered call, after which the peer may send more frames without a use, such as
        PING.
        """
        self._useless.earn()

    def spend(self) -> None:
        """
        Count a frame without a use, such as PING.

        @raise Violation: the peer has sent too many frames without a use.
        """
        if not self._useless.spend():
            raise Violation("too many frames that belong to no call")

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._unread += data

    def take(self) -> bytes:
        """
        Return the next frame, or the preface of the connection, or nothing as long as neither is
        complete.

        @raise Violation: the frame is too long, or the peer has sent too many frames.
        """
        if not self._has_preface:
            return self._take_preface()
        while len(self._unread) >= _HEADER:
            length = int.from_bytes(self._unread[:3], "big")
            if length > LONGEST_FRAME:
                raise Violation("a frame is too long", ErrorCodes.FRAME_SIZE_ERROR)
            if len(self._unread) < _HEADER + length:
                break
            is_admitted = self._admits(self._unread[3], self._unread[4], length)
            frame = self._cut(_HEADER + length)
            if is_admitted:
                return frame
        return b""

    def _take_preface(self) -> bytes:
        """
        Return the preface of the connection if it is complete.

        @raise Violation: the peer has sent something else than the preface of HTTP/2.
        """
        begun = bytes(self._unread[: len(PREFACE)])
        if not PREFACE.startswith(begun):
            raise Violation("the peer does not speak HTTP/2", ErrorCodes.PROTOCOL_ERROR)
        if begun != PREFACE:
            return b""
        self._has_preface = True
        return self._cut(len(PREFACE))

    def _cut(self, size: int) -> bytes:
        cut = bytes(self._unread[:size])
        del self._unread[:size]
        return cut

    def _admits(self, type_: int, flags: int, length: int) -> bool:
        """
        Count a frame, and return whether the frame should be passed on to h2.

        @raise Violation: the peer has sent too many frames, or too many bytes of headers.
        """
        if type_ == _Type.HEADERS:
            self._block = 0
        elif type_ == _Type.DATA:
            if length < _SMALL and not flags & _Flag.END_STREAM:
                self.spend()
        elif type_ == _Type.RST_STREAM:
            if not self._resets.spend():
                raise Violation("too many calls that are given up")
        else:
            self.spend()
        if self._block is not None:
            self._count_headers(flags, length)
        elif type_ == _Type.GOAWAY:
            self.is_leaving = True
            return False
        return True

    def _count_headers(self, flags: int, length: int) -> None:
        """Count the bytes of a HEADERS frame, or of a frame that continues the headers."""
        assert self._block is not None
        self._block += length
        if self._block > LONGEST_BLOCK:
            raise Violation("the headers of a call are too long")
        if flags & _Flag.END_HEADERS:
            self._block = None
