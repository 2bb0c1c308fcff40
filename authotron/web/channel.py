"""HTTP with limits that answer by their right names, and no patience with slow clients."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from math import inf

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

LONGEST_REQUEST_LINE = 8 * 1024
_LINGER = 2
"""Seconds that a refused client has to read why."""


class Channel(HTTPChannel):
    """
    One connection.

    Twisted alone answers 400 to a request line or a header block that is too long, or hangs up,
    and gives a client new time with every byte.

    @ivar limit: bytes that the request line and all header fields may have together.
    @ivar turns: requests that may still be asked on this connection.
    @ivar lost: told when the connection is closed, with all that was written to it sent.
    """

    MAX_LENGTH = LONGEST_REQUEST_LINE
    totalHeadersSize = maxHeaders = 1 << 30  # ours is stricter
    limit = 16 * 1024
    turns: float = inf
    _size = 0
    lost: Callable[[Channel], None]
    _refused = False
    _ended_in_cr = False
    _leaving = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.lost(self)

    def leave(self) -> None:
        """Close the connection as soon as what was begun on it is answered."""
        self._leaving = True
        if self.requests:
            self.persistent = self.checkPersistence(self.requests[-1], b"HTTP/1.1")
        else:
            self.loseConnection()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        self.turns -= 1
        if self._leaving or self.turns <= 0:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return bool(super().checkPersistence(request, version))

    def dataReceived(self, data: bytes) -> None:
        if self._refused or not data:
            return
        if self._size == 0 and self.line_mode and b"\n" in self._request_line(data):
            self.refuse(HTTPStatus.BAD_REQUEST)  # or it would be waited for its end
            return
        self._ended_in_cr = data.endswith(b"\r")
        super().dataReceived(data)

    def _request_line(self, data: bytes) -> bytes:
        return (b"\r" * self._ended_in_cr + data).partition(self.delimiter)[0]

    def resetTimeout(self) -> None:
        """Pieces of a request do not move the deadline; only its answer does."""

    def lineReceived(self, line: bytes) -> None:
        folded = self._size > 0 and line.startswith((b" ", b"\t"))
        self._size += len(line) + len(self.delimiter)
        self.MAX_LENGTH = self.limit
        if self._size > self.limit:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif folded:
            self.refuse(HTTPStatus.BAD_REQUEST)  # RFC 9112 section 5.2
        elif not self._refused:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        too_long = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self.refuse(too_long if self._size else HTTPStatus.REQUEST_URI_TOO_LONG)

    def allHeadersReceived(self) -> None:
        self._size = 0
        self.MAX_LENGTH = LONGEST_REQUEST_LINE
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if not self._refused:
            super().rawDataReceived(data)

    def refuse(self, status: HTTPStatus) -> None:
        """Say no to what has not even become a request, and read no more of it."""
        if self._refused or self.transport is None:
            return
        self._refused = True
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "Connection: close\r\nContent-Length: 0\r\n\r\n".encode()
        )
        # Closing at once would reset the connection while the client still sends, and it would
        # never read the reply.
        if ITCPTransport.providedBy(self.transport):
            self.transport.loseWriteConnection()
            self.setTimeout(_LINGER)
        else:
            self.transport.loseConnection()

    def timeoutConnection(self) -> None:
        if self._refused:
            self.forceAbortClient()
        else:
            super().timeoutConnection()
