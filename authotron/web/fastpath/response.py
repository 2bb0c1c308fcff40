"""
Encode replies of the fast path as bytes; the first header lines, equal for all replies of one
second, are cached.
"""

from __future__ import annotations

from http import HTTPStatus

from attrs import define, field
from twisted.web.http import datetimeToString

from authotron.web.fastpath.request import Shape
from authotron.web.replies import Reply


@define(eq=False)
class ReplyEncoder:
    """Converts replies to the bytes of HTTP responses, with the current date."""

    _second: int = -1
    _openings: dict[tuple[bytes, int, bool], bytes] = field(factory=dict)

    def encode(self, shape: Shape, reply: Reply, now: float) -> bytes:
        """
        Return the bytes of the HTTP response to a request.

        @param now: the current time, in seconds since the epoch.
        """
        second = int(now)
        if second != self._second:
            self._second, self._openings = second, {}
        kind = shape.version, reply.status, shape.persistent
        opening = self._openings.get(kind)
        if opening is None:
            opening = self._openings[kind] = self._opening(*kind)
        if reply.length and shape.method == "HEAD":
            return opening + reply.fields
        return opening + reply.wire

    def _opening(self, version: bytes, status: int, persistent: bool) -> bytes:  # noqa: FBT001 - a key
        phrase = HTTPStatus(status).phrase.encode()
        lines = b"%b %d %b\r\nServer: authotron\r\nDate: %b\r\n" % (
            version,
            status,
            phrase,
            datetimeToString(self._second),
        )
        closing = not persistent and version == b"HTTP/1.1"
        return lines + b"Connection: close\r\n" if closing else lines
