"""
The HTTP/1.1 connection of a client, which reads whole request heads, within limits of size and
time.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from math import inf
from typing import Any

from twisted.internet.interfaces import IAddress, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from authotron.limits.unfinished_heads import UnfinishedHeads
from authotron.model.http_grammar import LONGEST_FIELD_NAME
from authotron.web import framing
from authotron.web.framing import Chunks, MalformedRequest

LARGEST_BODY = 64 * 1024
"""Maximum number of bytes in a request body."""

MOST_IGNORED = 64 * 1024
"""Maximum number of bytes that are read, and discarded, of a request body that no route needs."""

LAST_CALL = 1.0
"""Seconds that a client has to finish sending a request after the gateway has begun to stop."""

_MAX_FIELDS = 4096
"""Maximum number of headers in a request."""

_END = b"\r\n\r\n"
LINGER = 2
"""
Seconds for which a connection stays open after its last reply while the client still sends. If a
connection is closed while the client sends, TCP resets it, and the client does not get the reply.
"""


class Channel(HTTPChannel):
    """
    One HTTP connection of a client.

    Twisted's C{HTTPChannel} answers 400 to a request line or header block that is too long, or just
    disconnects, and extends the timeout with every byte. L{Channel} answers 414 to a request line
    that is too long and 431 to headers that are too long, and each request has one deadline from
    its first byte. A request head (request line and headers) is buffered until it is
    complete, and parsed in one pass, which is faster than Twisted's parser. Request bodies, and
    requests that arrive while another is being answered, are left to Twisted.

    If the route of a request reads no body, the request is answered at once, even if its headers
    announce a body, because proxies pass on such headers without the body. If the client sends the
    announced body after all, the body is discarded; the connection is closed in any case.

    @ivar limit: maximum number of bytes in the request line, all headers and the empty line
        together.
    @ivar reads_body: a function that returns whether the route of a method and path reads the
        request body.
    @ivar unfinished: the memory budget for request heads that were received only in part.
    @ivar refused: a function that is called, with the status code, when a request is refused
        because it cannot be parsed.
    @ivar turns: the number of requests that the connection may still carry before it is closed.
    @ivar unused_since: the time at which the connection was established, or its last reply was
        sent.
    @ivar lost: a function that is called when the connection is closed, and everything that was
        written to it was sent.
    """

    transport: Any  # A TCP, UNIX or TLS transport; no interface has all methods that are used here.
    # The limits of Twisted never apply, because C{_MAX_FIELDS} and C{limit} are lower.
    maxHeaders = totalHeadersSize = 1 << 30
    limit = 64 * 1024
    turns: float = inf
    unused_since = 0.0
    lost: Callable[[Channel], None]
    reads_body: Callable[[bytes, bytes], bool]
    refused: Callable[[HTTPStatus, IAddress | None], None]
    unfinished: UnfinishedHeads
    _refused = False
    _leaving = False
    _chunks: Chunks | None = None
    _has_line = False
    _counted = 0
    _ignored: int | None = None
    _is_lingering = False

    def __init__(self) -> None:
        super().__init__()
        self._unread = bytearray()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._count(0)
        self.lost(self)

    def close_when_idle(self) -> None:
        """Close the connection once every request already started is answered."""
        self._leaving = True
        if self.requests:
            self.persistent = self.checkPersistence(self.requests[-1], b"HTTP/1.1")
            self.requests[0].wind_up()
        elif self._unread.strip(self.delimiter):
            self.setTimeout(LAST_CALL)
        else:
            self.loseConnection()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """
        Return whether to keep the connection open after a request. All C{Connection} headers decide
        whether the connection stays open, whereas Twisted reads only one of them.
        """
        self.turns -= 1
        lines = request.requestHeaders.getRawHeaders(b"Connection", [])
        options = [option.strip(b" \t").lower() for line in lines for option in line.split(b",")]
        if version != b"HTTP/1.1":
            return False
        is_last = self._leaving or self.turns <= 0 or self._ignored is not None
        if is_last or b"close" in options:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return True

    def resetTimeout(self) -> None:
        """Do nothing: received bytes do not extend the deadline of a request."""

    def dataReceived(self, data: bytes) -> None:
        """
        Parse one request head after the other, and leave request bodies to Twisted.

        At the end of a request body Twisted calls C{dataReceived} with the bytes after the body,
        while Twisted is still processing the body, and stores the bytes that C{dataReceived} then
        passes back.
        """
        if self._ignored is not None:
            self._ignore(len(data))
            return
        if self._is_closing():
            return
        self._unread += data
        while self._unread and not self._is_closing():
            if self._chunks is not None:
                if not self._read_chunks(self._chunks):
                    break
            elif not self.line_mode:
                super().dataReceived(self._cut(len(self._unread)))
            elif not self._read_head(len(data)):
                break
        if (self._unread or self._counted) and not self._count(len(self._unread)):
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def _is_closing(self) -> bool:
        return self._refused or self.transport.disconnecting

    def _count(self, size: int) -> bool:
        """
        Count the bytes of an unfinished request head; return whether the memory budget has room for
        them.
        """
        peer: str | None = getattr(self.transport.getPeer(), "host", None)
        has_room = self.unfinished.resize(peer, self._counted, size)
        self._counted = size if has_room else self._counted
        return has_room

    def _ignore(self, size: int) -> None:
        """
        Discard bytes of a request body that no route needs; stop reading after L{MOST_IGNORED}
        bytes.
        """
        assert self._ignored is not None
        self._ignored += size
        if self._ignored > MOST_IGNORED:
            self.transport.pauseProducing()

    def _read_head(self, new: int) -> bool:
        """
        Parse a request head if it is complete; return whether it is complete.

        @param new: the number of bytes just received; the end of the head is searched in these
            bytes only.
        """
        if self._unread.startswith(self.delimiter):
            self._cut(0, self.delimiter)
            # Twisted skips one empty line before a request, and rejects a second one.
            self.lineReceived(b"")
            return True
        end = self._unread.find(_END, -new - len(_END))
        problem = self._problem(len(self._unread) if end < 0 else end + len(_END), new)
        if problem is not None:
            self.refuse(problem)
        elif end >= 0:
            self._has_line = False
            self._read_lines(self._cut(end, _END))
        return end >= 0

    def _cut(self, end: int, mark: bytes = b"") -> bytes:
        cut = bytes(self._unread[:end])
        del self._unread[: end + len(mark)]
        return cut

    def _problem(self, size: int, new: int) -> HTTPStatus | None:
        """
        Return the status by which to refuse a partial or whole request head, or C{None} if there is
        no problem.

        @param new: the number of bytes just received; earlier bytes were checked before.
        """
        if not self._has_line:
            problem = self._line_problem(max(0, len(self._unread) - new - 1))
            if problem is not None:
                return problem
        too_large = self._has_line and size > self.limit
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else None

    def _line_problem(self, start: int) -> HTTPStatus | None:
        """
        Return the status by which to refuse a partial or whole request line, or C{None} if there is
        no problem.
        """
        end = self._unread.find(self.delimiter, start)
        size = len(self._unread) - self._unread.endswith(b"\r") if end < 0 else end
        if self._unread.find(b"\n", start, min(size, self.limit + 1)) >= 0:
            return HTTPStatus.BAD_REQUEST  # a line feed alone does not end the request line
        if size > self.limit:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        if end >= 0 and not framing.is_request_line(self._unread[:end]):
            return HTTPStatus.BAD_REQUEST
        self._has_line = end >= 0
        return None

    def _read_lines(self, head: bytes) -> None:
        if b"\r\n " in head or b"\r\n\t" in head:
            # RFC 9112 section 5.2: a server may reject a header that is continued on another line.
            self.refuse(HTTPStatus.BAD_REQUEST)
            return
        line, *fields = head.split(self.delimiter)
        if len(fields) > _MAX_FIELDS:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        try:
            line, fields = framing.in_origin_form(line, fields)
            body = framing.announced_body(line, fields)
        except MalformedRequest as malformed:
            self.refuse(malformed.status)
            return
        method, target, _ = line.split(b" ")
        reads_body = self.reads_body(method, target.partition(b"?")[0])
        if not reads_body:
            fields = framing.without_body(fields)
        elif body.is_chunked:
            self._chunks = Chunks(LARGEST_BODY)
        self.lineReceived(line)
        if not self._is_closing() and all(
            map(self.headerReceived, filter(_has_short_name, fields))
        ):
            if body.is_announced() and not reads_body:
                self._ignored = len(self._unread)
                self._unread.clear()
            self.lineReceived(b"")  # For Twisted an empty line ends the request head.

    def _read_chunks(self, chunks: Chunks) -> bool:
        """
        Pass the received bytes of a chunked request body on to Twisted; return whether there were
        any.
        """
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

    def allContentReceived(self) -> None:
        # The request may be refused already, because of bytes that came with the body's last chunk.
        if not self._refused:
            super().allContentReceived()

    def refuse(self, status: HTTPStatus) -> None:
        """
        Answer a request that cannot be parsed with a status code only, and
        close the connection.
        """
        if self._refused:
            return
        self._refused = True
        self._unread.clear()
        self._count(0)
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "Connection: close\r\nContent-Length: 0\r\n\r\n".encode()
        )
        self._half_close()
        self.refused(status, self.transport.getPeer())

    def _half_close(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.loseWriteConnection()
            self.setTimeout(LINGER)
        else:
            self.transport.loseConnection()

    def loseConnection(self) -> None:
        """
        Close the connection, but while the client may still send a body, close only the gateway's
        sending direction.
        """
        if self._ignored is None:
            super().loseConnection()
        elif not self._is_lingering:
            self._is_lingering = True
            self.transport.unregisterProducer()
            self._half_close()

    def timeoutConnection(self) -> None:
        if self._refused or self._ignored is not None:
            self.forceAbortClient()
        else:
            super().timeoutConnection()


def _has_short_name(field: bytes) -> bool:
    """
    Whether the name of a header is short enough to pass the header on to Twisted.

    Twisted caches the names of headers in memory, so headers with long names, none of which the
    gateway reads, are dropped.
    """
    return field.find(b":", 0, LONGEST_FIELD_NAME + 1) >= 0
