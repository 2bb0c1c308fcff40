"""Records in the memory of one process, for the token store of type memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field

from authotron.model.records import FOLLOWED_KINDS, Changes, Record
from authotron.plugin import record_changes
from authotron.plugin.record_changes import (
    Listeners,
    Position,
    check_length,
    is_followed,
    is_live,
    new_mark,
    parse_position,
)

Key = tuple[str, str]
"""The kind and the id of a record."""


@define(eq=False)
class MemoryRecords:
    """
    Keeps records in a dictionary, and the keys of changed records in a list.

    @ivar _mark: the random mark of every position of this process, because another process does not
        have the changes of this one.
    """

    _stored: dict[Key, Record] = field(factory=dict, init=False)
    _changed: deque[Key] = field(factory=deque, init=False)
    _number: int = field(default=0, init=False)
    _mark: str = field(factory=new_mark, init=False)
    _listeners: Listeners = field(factory=Listeners, init=False)

    async def add_record(self, record: Record, now: float) -> bool:
        check_length(record)
        if is_live(self._stored.get((record.kind, record.id)), now):
            return False
        self._store(record)
        return True

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        found = self._stored.get((kind, id_))
        return found if is_live(found, now) else None

    async def records(self, kind: str, now: float) -> Sequence[Record]:
        stored = [self._stored[key] for key in sorted(self._stored)]
        return [each for each in stored if each.kind == kind and is_live(each, now)]

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        check_length(record)
        stored = self._stored.get((record.kind, record.id))
        if stored is None or stored.content != earlier.content:
            return False
        self._store(record)
        return True

    async def remove_record(self, kind: str, id_: str) -> bool:
        if self._stored.pop((kind, id_), None) is None:
            return False
        self._note_change((kind, id_))
        return True

    def _store(self, record: Record) -> None:
        self._stored[record.kind, record.id] = record
        self._note_change((record.kind, record.id))

    def _note_change(self, key: Key) -> None:
        if not is_followed(key[0]):
            return
        self._number += 1
        self._changed.append(key)
        while len(self._changed) > record_changes.KEPT_CHANGES:
            self._changed.popleft()
        self._listeners.notify()

    async def changes(self, after: str | None) -> Changes:
        number = self._number_of(parse_position(after))
        keys = dict.fromkeys(self._changed)
        if number is not None:
            newest = [*self._changed][len(self._changed) - (self._number - number) :]
            keys = dict.fromkeys(newest)
        else:
            keys.update((key, None) for key in self._stored if key[0] in FOLLOWED_KINDS)
        records = tuple(self._stored[key] for key in keys if key in self._stored)
        removed = tuple(key for key in keys if key not in self._stored)
        cursor = str(Position(str(self._number), self._mark))
        return Changes(cursor, records, removed, is_complete=number is None)

    def _number_of(self, position: Position | None) -> int | None:
        """
        Return the number of the change at a position, or C{None} if the list of changes does not
        have every change after the position.
        """
        if position is None or position.mark != self._mark:
            return None
        behind = self._number - position.number
        return position.number if 0 <= behind <= len(self._changed) else None

    def on_change(self, notify: Callable[[], object]) -> Callable[[], None]:
        return self._listeners.add(notify)

    async def delete_expired(self, now: float) -> None:
        for key in [key for key, each in self._stored.items() if not is_live(each, now)]:
            del self._stored[key]

    async def close(self) -> None:
        """Do nothing: no other process can change the records in the memory of this process."""
