"""Parse Server-Sent Events, as the HTML standard defines them."""

from __future__ import annotations

from dataclasses import dataclass

_LONGEST_LINE = 1024 * 1024
_LONGEST_EVENT = 4 * 1024 * 1024


class TooLong(Exception):
    """A line, or an event, of a stream is longer than any that the gateway sends."""


@dataclass(frozen=True)
class ServerEvent:
    """
    One event of a stream of Server-Sent Events.

    @ivar name: what has happened, such as C{revocation}.
    @ivar data: the description of the event, which is JSON.
    """

    name: str
    data: str


class EventParser:
    """
    Parses a stream of Server-Sent Events piece by piece.

    @ivar last_id: the id of the last event, by which the stream can be resumed.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = self._id = last_id
        self._unread = b""
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """
        Return the events that are complete with the given piece of the stream.

        @raise TooLong: a line or an event is too long.
        """
        *lines, self._unread = (self._unread + piece).split(b"\n")
        if len(self._unread) > _LONGEST_LINE:
            raise TooLong
        found = (self._line(line.rstrip(b"\r").decode("utf-8", "replace")) for line in lines)
        return [event for event in found if event is not None]

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._end()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        self._size += len(line)
        if self._size > _LONGEST_EVENT:
            raise TooLong
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _end(self) -> ServerEvent | None:
        name, data = self._name or "message", "\n".join(self._data)
        is_event = bool(self._data)
        self.last_id = self._id
        self._name, self._data, self._size = "", [], 0
        return ServerEvent(name, data) if is_event else None
