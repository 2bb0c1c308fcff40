"""Records in the database of the SQLite token store, and the log of their changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from attrs import Factory, define, field
from twisted.internet.interfaces import IReactorTime

from authotron.model.records import FOLLOWED_KINDS, Changes, Record
from authotron.plugin import record_changes
from authotron.plugin.record_changes import (
    START,
    Listeners,
    Notify,
    Position,
    check_length,
    is_followed,
    new_mark,
    parse_position,
    poll,
)
from authotron.stores.sqlite_statements import (
    ADD_RECORD,
    CHANGED_RECORDS,
    EVERY_RECORD,
    LAST_CHANGE,
    NOTE_CHANGE,
    TRIM_CHANGES,
)
from authotron.stores.sqlite_transaction import transaction

T = TypeVar("T")


class Query(Protocol):
    """Runs a function with the connection to the database, in the thread of the store."""

    def __call__(self, work: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]:
        """Return the result of C{work}."""


@define(eq=False)
class SqliteRecords:
    """
    Keeps records in the table C{records}, and their changes, with numbers in the order of the
    commits, in the table C{record_changes}.

    SQLite runs one writing transaction after the other, so a change with a lower number is never
    committed after a change with a higher number. All processes that use the database run on one
    machine; each process polls the number of the last change.
    """

    _query: Query
    _clock: IReactorTime
    _listeners: Listeners = field(
        default=Factory(lambda self: Listeners(self._watch), takes_self=True), init=False
    )

    async def add_record(self, record: Record, now: float) -> bool:
        check_length(record)
        return await self._write(record, ADD_RECORD, {**_values(record), "now": now})

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        found = await self._select("kind = ? AND id = ?", kind, id_, now)
        return found[0] if found else None

    async def records(self, kind: str, now: float) -> Sequence[Record]:
        return await self._select("kind = ?", kind, now)

    async def _select(self, where: str, *values: Any) -> list[Record]:
        live = "(until IS NULL OR until > ?)"
        text = f"SELECT kind, id, content, until FROM records WHERE {where} AND {live} ORDER BY id"  # noqa: S608 - the format inserts names of columns only, and no values
        return await self._query(lambda db: [Record(*row) for row in db.execute(text, values)])

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        check_length(record)
        values = {**_values(record), "earlier": earlier.content}
        text = (
            "UPDATE records SET content = :content, until = :until "
            "WHERE kind = :kind AND id = :id AND content = :earlier"
        )
        return await self._write(record, text, values)

    async def remove_record(self, kind: str, id_: str) -> bool:
        removed = Record(kind, id_, "")
        text = "DELETE FROM records WHERE kind = :kind AND id = :id"
        return await self._write(removed, text, _values(removed))

    async def _write(self, record: Record, statement: str, values: dict[str, Any]) -> bool:
        """
        Run a statement that changes one record, and note the change; return whether the record was
        changed.
        """
        followed = is_followed(record.kind)

        def write(database: sqlite3.Connection) -> bool:
            with transaction(database):
                if not database.execute(statement, values).rowcount:
                    return False
                if followed:
                    database.execute(NOTE_CHANGE, (new_mark(), record.kind, record.id))
                    database.execute(TRIM_CHANGES, (record_changes.KEPT_CHANGES,))
            return True

        has_changed = await self._query(write)
        if has_changed and followed:
            self._listeners.notify()
        return has_changed

    async def changes(self, after: str | None) -> Changes:
        position = parse_position(after)
        return await self._query(lambda database: _changes(database, position))

    def on_change(self, notify: Callable[[], object]) -> Callable[[], None]:
        return self._listeners.add(notify)

    async def _watch(self, notify: Notify) -> None:
        await poll(self._clock, self._last_change, notify)

    async def _last_change(self) -> object:
        return await self._query(lambda database: database.execute(LAST_CHANGE).fetchone())

    async def delete_expired(self, now: float) -> None:
        text = "DELETE FROM records WHERE until <= ?"
        await self._query(lambda database: database.execute(text, (now,)).rowcount)

    async def close(self) -> None:
        await self._listeners.close()


def _values(record: Record) -> dict[str, Any]:
    return {
        "kind": record.kind,
        "id": record.id,
        "content": record.content,
        "until": record.until,
    }


def _changes(database: sqlite3.Connection, after: Position | None) -> Changes:
    """
    Read the changes of records after a position in the log of changes, all from one state of the
    database.
    """
    with transaction(database, "DEFERRED"):
        is_known = after is not None and _has_change(database, after)
        start = after.number if after is not None and is_known else 0
        last = database.execute(LAST_CHANGE).fetchone()
        rows = database.execute(CHANGED_RECORDS, (start,)).fetchall()
        if not is_known:
            rows += database.execute(EVERY_RECORD, sorted(FOLLOWED_KINDS)).fetchall()
    found = {(kind, id_): (content, until) for kind, id_, content, until in rows}
    records = tuple(
        Record(*key, content, until)
        for key, (content, until) in found.items()
        if content is not None
    )
    removed = tuple(key for key, (content, _) in found.items() if content is None)
    cursor = START if last is None else Position(str(last[0]), last[1])
    return Changes(str(cursor), records, removed, is_complete=not is_known)


def _has_change(database: sqlite3.Connection, position: Position) -> bool:
    text = "SELECT 1 FROM record_changes WHERE number = ? AND mark = ?"
    return database.execute(text, (position.number, position.mark)).fetchone() is not None
