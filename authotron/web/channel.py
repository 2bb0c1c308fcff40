"""The HTTP/1.1 connection: reads whole request heads, within limits of size and time."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from math import inf
from typing import Any

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from authotron.model.http_grammar import LONGEST_FIELD_NAME
from authotron.web import framing
from authotron.web.framing import Chunks, MalformedRequest

LARGEST_BODY = 64 * 1024
"""Bytes of the largest request body that is accepted."""

LONGEST_REQUEST_LINE = 8 * 1024
"""Bytes of the longest request line that is accepted."""

LAST_CALL = 1.0
"""Seconds in which a client must finish sending a request after the gateway began to stop."""

_MAX_FIELDS = 4096
"""Header fields of a request; more do not fit into the default of C{max_header_bytes}."""

_END = b"\r\n\r\n"
_LINGER = 2
"""Seconds for which a connection stays open after a refusal, so that the client can read it."""


class Channel(HTTPChannel):
    """
    One HTTP connection.

    Twisted's C{HTTPChannel} answers 400 to a request line or header block that is too long, or just
    disconnects, and extends the timeout with every byte. This class answers 414 and 431, and gives
    a request one deadline. It buffers a head until it is complete and parses it in one pass, where
    Twisted splits off one line after the other. Bodies, and requests that arrive while another is
    being answered, are left to Twisted.

    @ivar limit: bytes of the request line, all header fields and the empty line together.
    @ivar turns: requests that the connection may still carry.
    @ivar unused_since: the time at which the connection was made, or its last reply was sent.
    @ivar lost: called when the connection is closed, after everything written to it was sent.
    """

    transport: Any  # TCP, UNIX or TLS; no interface has all methods that are used here
    maxHeaders = 1 << 30  # C{_MAX_FIELDS} is checked first
    limit = 16 * 1024
    turns: float = inf
    unused_since = 0.0
    lost: Callable[[Channel], None]
    _refused = False
    _leaving = False
    _chunks: Chunks | None = None

    def __init__(self) -> None:
        super().__init__()
        self._unread = bytearray()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.lost(self)

    def close_when_idle(self) -> None:
        """Close the connection as soon as all requests that were begun are answered."""
        self._leaving = True
        if self.requests:
            self.persistent = self.checkPersistence(self.requests[-1], b"HTTP/1.1")
        elif self._unread.strip(self.delimiter):
            self.setTimeout(LAST_CALL)
        else:
            self.loseConnection()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Whether to keep the connection; reads all C{Connection} fields, Twisted only one."""
        self.turns -= 1
        lines = request.requestHeaders.getRawHeaders(b"Connection", [])
        options = [option.strip(b" \t").lower() for line in lines for option in line.split(b",")]
        if self._leaving or self.turns <= 0 or (version == b"HTTP/1.1" and b"close" in options):
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return version == b"HTTP/1.1"

    def resetTimeout(self) -> None:
        """Do nothing: received bytes do not extend the deadline of a request."""

    def dataReceived(self, data: bytes) -> None:
        """
        Parse one head after the other, and leave bodies to Twisted.

        At the end of a body Twisted calls this method with the bytes behind the body, while it is
        still processing the body. The buffer is empty then, and Twisted keeps the bytes that this
        method passes on until the body is processed.
        """
        if self._is_closing():
            return
        self._unread += data
        while self._unread and not self._is_closing():
            if self._chunks is not None:
                if not self._read_chunks(self._chunks):
                    return
            elif not self.line_mode:
                super().dataReceived(self._cut(len(self._unread)))
            elif not self._read_head(len(data)):
                return

    def _is_closing(self) -> bool:
        return self._refused or self.transport.disconnecting

    def _read_head(self, new: int) -> bool:
        """
        Parse a head if it is complete; return whether it was.

        @param new: the number of bytes just received; only these are searched for the end.
        """
        if self._unread.startswith(self.delimiter):
            self._cut(0, self.delimiter)
            self.lineReceived(b"")  # Twisted skips one empty line, and rejects a second.
            return True
        end = self._unread.find(_END, -new - len(_END))
        problem = self._problem(len(self._unread) if end < 0 else end + len(_END))
        if problem is not None:
            self.refuse(problem)
        elif end >= 0:
            self._read_lines(self._cut(end, _END))
        return end >= 0

    def _cut(self, end: int, mark: bytes = b"") -> bytes:
        cut = bytes(self._unread[:end])
        del self._unread[: end + len(mark)]
        return cut

    def _problem(self, size: int) -> HTTPStatus | None:
        """Return the status to refuse a partial or whole head with, or C{None} if it is good."""
        end = self._unread.find(self.delimiter)
        line = self._unread.removesuffix(b"\r") if end < 0 else self._unread[:end]
        longest = min(LONGEST_REQUEST_LINE, self.limit)
        if b"\n" in line[: longest + 1]:
            return HTTPStatus.BAD_REQUEST  # The end of the line, CR LF, would never come.
        if len(line) > longest:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        if end >= 0 and not framing.is_request_line(line):
            return HTTPStatus.BAD_REQUEST
        too_large = end >= 0 and size > self.limit
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else None

    def _read_lines(self, head: bytes) -> None:
        if b"\r\n " in head or b"\r\n\t" in head:
            self.refuse(HTTPStatus.BAD_REQUEST)  # RFC 9112 section 5.2
            return
        line, *fields = head.split(self.delimiter)
        try:
            if framing.is_chunked(line, fields):
                self._chunks = Chunks(LARGEST_BODY)
        except MalformedRequest as malformed:
            self.refuse(malformed.status)
            return
        if len(fields) > _MAX_FIELDS:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        self.lineReceived(line)
        if not self._is_closing() and all(
            map(self.headerReceived, filter(_has_short_name, fields))
        ):
            self.lineReceived(b"")  # the empty line ends the head

    def _read_chunks(self, chunks: Chunks) -> bool:
        """Pass bytes of a chunked body on to Twisted; return whether there were any."""
        try:
            size = chunks.accept(self._unread)
        except MalformedRequest as malformed:
            self.refuse(malformed.status)
            return False
        if chunks.ended:
            self._chunks = None
        if size:
            super().dataReceived(self._cut(size))
        return size > 0

    def headerReceived(self, line: bytes) -> bool:
        try:
            return bool(super().headerReceived(line))
        except ValueError:  # The length has more digits than int() accepts.
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return False

    def allContentReceived(self) -> None:
        if not self._refused:  # The body may have been refused in the same piece as its last chunk.
            super().allContentReceived()

    def refuse(self, status: HTTPStatus) -> None:
        """Answer a request that cannot be parsed with a status only, and close the connection."""
        if self._refused:
            return
        self._refused = True
        self._unread.clear()
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "Connection: close\r\nContent-Length: 0\r\n\r\n".encode()
        )
        # If the connection were closed while the client still sends, TCP would reset it, and the
        # client would not get the reply.
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


def _has_short_name(field: bytes) -> bool:
    """
    Whether the name of a header field is short enough to be passed on to Twisted.

    Twisted caches field names in memory. The gateway reads no field with a longer name.
    """
    return field.find(b":", 0, LONGEST_FIELD_NAME + 1) >= 0
