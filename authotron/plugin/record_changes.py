"""
What token stores that keep records share: positions in the log of changes, and the listeners that a
store notifies of changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from secrets import token_hex

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import Awaited, was_cancelled
from authotron.model.errors import Unavailable
from authotron.model.records import FOLLOWED_KINDS, Record

KEPT_CHANGES = 10_000
"""
Number of the newest changes of records that a token store keeps; a gateway that has missed more
changes reads all records.
"""

LONGEST_CONTENT = 65_536
"""Maximum number of bytes in the content of a record."""

POLL_INTERVAL = 0.25
"""Seconds between two looks at a database that does not report changes of records."""

_POSITION = re.compile(r"(\d{1,18}(?:-\d{1,18})?):([0-9a-f]{16})", re.ASCII)

Notify = Callable[[], object]
"""A function that is called when a record has changed."""


@frozen
class Position:
    """
    A position in a store's log of changes, which is the text of a L{Changes.cursor}.

    A token store that is restored from a backup, or that loses its last changes, gives new changes
    the numbers of the lost changes. The mark, which is random, shows that a position belongs to a
    lost change.

    @ivar place: the number of the last change before the position, as the store numbers changes.
    @ivar mark: the random mark of this change.
    """

    place: str
    mark: str

    def __str__(self) -> str:
        return f"{self.place}:{self.mark}"

    @property
    def number(self) -> int:
        """Return the number of the position's change, in a store that numbers changes from 1 on."""
        return int(self.place) if self.place.isdigit() else 0


START = Position("0", "0" * 16)
"""The position in a log without any change; every store treats this position as unknown."""


def parse_position(cursor: str | None) -> Position | None:
    """Parse the text of a cursor; return C{None} if no store can have written the text."""
    found = _POSITION.fullmatch(cursor or "")
    return Position(found[1], found[2]) if found else None


def new_mark() -> str:
    """Return the random mark of a new change."""
    return token_hex(8)


def is_followed(kind: str) -> bool:
    """Return whether every gateway follows the changes of a kind of records."""
    return kind in FOLLOWED_KINDS


def is_live(record: Record | None, now: float) -> bool:
    """Return whether there is a record, and it has not expired."""
    return record is not None and (record.until is None or record.until > now)


def check_length(record: Record) -> None:
    """
    Refuse a record that is too long to be stored.

    @raise ValueError: the content of the record has more than L{LONGEST_CONTENT} bytes.
    """
    if len(record.content.encode()) > LONGEST_CONTENT:
        raise ValueError(f"the content of the {record.kind} is longer than {LONGEST_CONTENT} bytes")


@define(eq=False)
class Listeners:
    """
    The listeners that a store notifies of changed records, and the work by which the store notices
    changes that other processes make.

    @ivar _watch: a coroutine function that calls its argument after each change which another
        process makes, until it is cancelled; it runs while there are callers. C{None} if no other
        process can change the store.
    """

    _watch: Callable[[Notify], Awaited[None]] | None = None
    _callers: dict[object, Notify] = field(factory=dict, init=False)
    _watching: Deferred[None] | None = field(default=None, init=False)
    _ending: list[Deferred[None]] = field(factory=list, init=False)
    _log = Logger()

    def add(self, notify: Notify) -> Callable[[], None]:
        """Call C{notify} after each change; return a function that ends this."""
        key = object()
        self._callers[key] = notify
        if self._watch is not None and self._watching is None:
            self._watching = Deferred.fromCoroutine(self._watch(self.notify))
            self._watching.addErrback(self._failed)
        return partial(self._remove, key)

    def notify(self) -> None:
        """Notify all listeners that a record has changed."""
        for notify in [*self._callers.values()]:
            try:
                notify()
            except Exception:  # noqa: BLE001 - the record is stored, whatever a caller does then
                self._log.failure("a caller failed after a change of a record")

    async def close(self) -> None:
        """Remove all listeners, and stop looking for changes of records."""
        self._callers.clear()
        self._stop()
        for each in self._ending:
            await each
        self._ending.clear()

    def _remove(self, key: object) -> None:
        self._callers.pop(key, None)
        if not self._callers:
            self._stop()

    def _stop(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            self._ending = [*(each for each in self._ending if not each.called), watching]
            watching.cancel()

    def _failed(self, failure: Failure) -> None:
        if not was_cancelled(failure):
            self._log.failure(
                "looking for changed records in the token store failed because of an internal "
                "error; changes of other gateways are noticed later",
                failure,
                event="store.records.broken",
            )


async def poll(clock: IReactorTime, version: Callable[[], Awaited[object]], notify: Notify) -> None:
    """
    Look at the version of the records every L{POLL_INTERVAL} seconds, and call C{notify} when it
    has changed; this goes on until the caller cancels it.

    @param version: returns a value that differs after each change, and is cheap to read.
    """
    seen: object = None
    while True:
        try:
            found = await version()
        except Unavailable:
            # The gateway learns from its own calls that the store is unavailable.
            pass
        else:
            if found != seen:
                seen = found
                notify()
        await deferLater(clock, POLL_INTERVAL, lambda: None)
