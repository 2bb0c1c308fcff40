"""Reads heads: whole, in limits that answer by their right names, not waiting for slow clients."""

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
LONGEST_REQUEST_LINE = 8 * 1024
LAST_CALL = 1.0
"""Seconds that a client has for a request that it has begun, or may have, when we stop."""

_MOST_FIELDS = 4096
"""Header fields that a request may have: no more fit into the default of C{max_header_bytes}."""

_END = b"\r\n\r\n"
_LINGER = 2
"""Seconds that a refused client has to read why."""


class Channel(HTTPChannel):
    """
    One connection.

    Twisted alone answers 400 to a request line or a header block that is too long, or hangs up,
    and gives a client new time with every byte. It also cuts what came into lines one by one; here
    a head is kept until it is whole, and then read in one pass. What is left to Twisted are bodies,
    and requests that came while another is answered.

    @ivar limit: bytes that the request line and all header fields may have together, with the
        empty line that ends them.
    @ivar turns: requests that may still be asked on this connection.
    @ivar unused_since: when the connection was made, or its last request was answered.
    @ivar lost: told when the connection is closed, with all that was written to it sent.
    """

    transport: Any  # of TCP, UNIX or TLS; no interface has all that these can do
    maxHeaders = 1 << 30  # ours is stricter
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
        """Close the connection as soon as what was begun on it is answered."""
        self._leaving = True
        if self.requests:
            self.persistent = self.checkPersistence(self.requests[-1], b"HTTP/1.1")
        elif self._unread.strip(self.delimiter):
            self.setTimeout(LAST_CALL)
        else:
            self.loseConnection()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Read all options of all C{Connection} lines; Twisted reads one line, cut at blanks."""
        self.turns -= 1
        lines = request.requestHeaders.getRawHeaders(b"Connection", [])
        options = [option.strip(b" \t").lower() for line in lines for option in line.split(b",")]
        if self._leaving or self.turns <= 0 or (version == b"HTTP/1.1" and b"close" in options):
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return version == b"HTTP/1.1"

    def resetTimeout(self) -> None:
        """Pieces of a request do not move the deadline; only its answer does."""

    def dataReceived(self, data: bytes) -> None:
        """
        Read heads, one after the other, and leave all else to Twisted.

        When a body ends, Twisted calls this with what follows while it is still busy with the body.
        Nothing is unread then, and what it gets back it keeps until it is done.
        """
        if self._over():
            return
        self._unread += data
        while self._unread and not self._over():
            if self._chunks is not None:
                if not self._read_chunks(self._chunks):
                    return
            elif not self.line_mode:
                super().dataReceived(self._cut(len(self._unread)))
            elif not self._read_head(len(data)):
                return

    def _over(self) -> bool:
        return self._refused or self.transport.disconnecting

    def _read_head(self, new: int) -> bool:
        """
        Read a head if it is whole, and say whether it was.

        @param new: so many bytes have just come; the end is looked for only where they are.
        """
        if self._unread.startswith(self.delimiter):
            self._cut(0, self.delimiter)
            self.lineReceived(b"")  # Twisted takes one, and no second
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
        """What is wrong for certain with a head of which so much is there, whole or not."""
        end = self._unread.find(self.delimiter)
        line = self._unread.removesuffix(b"\r") if end < 0 else self._unread[:end]
        longest = min(LONGEST_REQUEST_LINE, self.limit)
        if b"\n" in line[: longest + 1]:
            return HTTPStatus.BAD_REQUEST  # else we would wait for an end that never comes
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
        if len(fields) > _MOST_FIELDS:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        self.lineReceived(line)
        if not self._over() and all(map(self.headerReceived, filter(_has_short_name, fields))):
            self.lineReceived(b"")  # no field waits for a folded line, so this is the end

    def _read_chunks(self, chunks: Chunks) -> bool:
        """Give Twisted what surely belongs to a chunked body, and say whether that was anything."""
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
        except ValueError:  # a length of more digits than Python reads
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return False

    def allContentReceived(self) -> None:
        if not self._refused:  # the last chunk of a body may come together with one too many
            super().allContentReceived()

    def refuse(self, status: HTTPStatus) -> None:
        """Say no to what has not even become a request, and read no more of it."""
        if self._refused:
            return
        self._refused = True
        self._unread.clear()
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


def _has_short_name(field: bytes) -> bool:
    """
    Whether the name of a field is short enough to be shown to Twisted.

    A longer name means nothing to the gateway, and Twisted would keep it in memory.
    """
    return field.find(b":", 0, LONGEST_FIELD_NAME + 1) >= 0
