"""A log of the latest events, from which a client resumes after a short interruption."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator

from attrs import define, field, frozen

from authotron.model.authentication import Authentication

MOST = 10_000
"""Maximum number of events in a log."""

MOST_BYTES = 4 * 2**20
"""Maximum number of bytes of the texts of all events in a log."""

_OVERHEAD = 200
"""Estimated bytes that an event takes up in memory in addition to its text."""

_NUMBER = re.compile(r"[0-9]{1,18}")

Concerns = Callable[[Authentication], bool]
"""A function that returns whether an event concerns a client."""


def _concerns_all(_client: Authentication) -> bool:
    """Return true: an event such as a change of the published keys concerns every client."""
    return True


@frozen
class Event:
    """
    Something that has changed, and that clients of C{GET /events} are informed about.

    @ivar name: what has changed, such as C{revocation}.
    @ivar text: the description of the change, which is JSON on one line.
    @ivar concerns: returns whether a client without a role of C{tokens.introspectors} gets the
        event.
    """

    name: str
    text: str
    concerns: Concerns = field(default=_concerns_all, eq=False, repr=False)

    def __sizeof__(self) -> int:
        return _OVERHEAD + len(self.text)


@define(eq=False)
class EventLog:
    """
    The latest events of one process, numbered from 1.

    The id of an event consists of the name of the log, which is random for each process, and the
    number of the event. A client that names the id of another log, or of an event that has left the
    log, cannot resume, and receives the present state.

    @ivar newest: the number of the last event, or 0 before the first event.
    """

    _name: str
    _most: int = MOST
    _most_bytes: int = MOST_BYTES
    newest: int = field(default=0, init=False)
    _events: deque[Event] = field(factory=deque, init=False, repr=False)
    _bytes: int = field(default=0, init=False)

    def append(self, event: Event) -> None:
        """Add an event; the oldest events leave the log if it becomes too large."""
        self.newest += 1
        self._events.append(event)
        self._bytes += event.__sizeof__()
        while len(self._events) > self._most or self._bytes > self._most_bytes:
            self._bytes -= self._events.popleft().__sizeof__()

    def id_of(self, number: int) -> str:
        """Return the id of the event with the given number."""
        return f"{self._name}-{number}"

    def number_of(self, id_: str) -> int | None:
        """
        Return the number of the event with an id, if the log still has every event after it, or
        C{None} otherwise.
        """
        name, _, number = id_.rpartition("-")
        if name != self._name or not _NUMBER.fullmatch(number):
            return None
        found = int(number)
        return found if self.has_all_after(found) else None

    def has_all_after(self, number: int) -> bool:
        """Return whether the log still has every event after the event with a number."""
        return self.newest - len(self._events) <= number <= self.newest

    def after(self, number: int) -> Iterator[tuple[int, Event]]:
        """
        Yield the number and the event of each event after the event with a number.

        @param number: the number of an event for which L{has_all_after} returns true.
        """
        first = self.newest - len(self._events) + 1
        for place in range(number + 1 - first, len(self._events)):
            yield first + place, self._events[place]
