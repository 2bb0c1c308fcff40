"""Records in MongoDB, for the MongoDB token store, and the order of their changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import Any, Protocol, TypeVar

from attrs import Factory, define, field
from bson import ObjectId
from pymongo.errors import DuplicateKeyError
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from txmongo import filter as sorting

from authotron.concurrency.racing import with_timeout
from authotron.model.errors import TimedOut, Unavailable
from authotron.model.records import Changes, Record
from authotron.plugin import record_changes
from authotron.plugin.record_changes import (
    START,
    Listeners,
    Notify,
    Position,
    check_length,
    is_followed,
    is_live,
    new_mark,
    parse_position,
    poll,
)
from authotron.stores.mongo_documents import create_record_indexes
from authotron.stores.mongo_stream import MongoStream, NoStream

T = TypeVar("T")

_EVERY_CHANGE = {"_id": {"$gt": ObjectId(b"\0" * 12), "$lte": ObjectId(b"\xff" * 12)}}
"""
A MongoDB query for all documents with changes of the kinds that gateways follow.

The ids of these documents are not strings but ObjectIds, the only ids by which FerretDB 1 on SQLite
finds a document without reading all others.
"""

_ATTEMPTS = 50
"""Number of attempts to store a change while other gateways store changes at the same time."""

_STEPS = 20
"""
Number of changes that the gateway reads one after the other by their ids, which is fast on every
server, before it reads all further changes by one query.
"""

_PAGE = 500
"""Maximum number of documents that one call of C{delete_expired} deletes one by one."""

_GRACE = 3600.0
"""Seconds for which MongoDB keeps the document which says that a record was removed."""

_RETRY, _RETRY_REFUSED = 1.0, 60.0
"""
Seconds until the gateway tries again to open a change stream: after a lost connection, and after
the server has refused to open a change stream.
"""

Document = Mapping[str, Any]
Fields = dict[str, Any]


class Run(Protocol):
    """Runs an operation of MongoDB, as the MongoDB token store does."""

    def __call__(self, operation: Callable[[], Awaitable[T]], /) -> Awaitable[T]:
        """Return the result of C{operation}."""


@define(eq=False)
class MongoRecords:
    """
    Keeps each state of a record in a document of its own, whose id contains a number.

    All changes of the kinds that gateways follow are numbered in one sequence. A gateway that
    changes a record reads the last number, decides, and inserts a document with the next number. A
    server of the MongoDB protocol may not support transactions, and may not update a document
    atomically, but every server rejects a second document with the same id: then another gateway
    has stored a change meanwhile, and the gateway begins anew. So a decision always rests on the
    newest state of a record; and a document with a lower number is never stored after a document
    with a higher number.

    Changes of other kinds, such as used proofs of possession, have a sequence for each record.

    @ivar _collection: returns the MongoDB collection of records.
    @ivar _call: a function that runs an operation which changes documents.
    @ivar _read: a function that runs an operation which changes no document.
    @ivar _stream: tells this gateway about changes, if the server supports change streams.
    @ivar _newest_known: the highest number of a change that this gateway has seen, or 0.
    """

    _collection: Callable[[], Any]
    _call: Run
    _read: Run
    _clock: IReactorTime
    _stream: MongoStream
    _listeners: Listeners = field(
        default=Factory(lambda self: Listeners(self._watch), takes_self=True), init=False
    )
    _turns: DeferredLock = field(factory=DeferredLock, init=False)
    _newest_known: int = field(default=0, init=False)
    _has_indexes: bool = field(default=False, init=False)

    async def add_record(self, record: Record, now: float) -> bool:
        check_length(record)

        def decide(current: Document | None) -> Fields | None:
            return None if is_live(_record(current), now) else _content(record)

        return await self._write(record, decide)

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        check_length(record)

        def decide(current: Document | None) -> Fields | None:
            stored = _record(current)
            has_changed = stored is None or stored.content != earlier.content
            return None if has_changed else _content(record)

        return await self._write(record, decide)

    async def remove_record(self, kind: str, id_: str) -> bool:
        def decide(current: Document | None) -> Fields | None:
            gone = {"removed": True, "removed_at": self._clock.seconds()}
            return None if _record(current) is None else gone

        return await self._write(Record(kind, id_, ""), decide)

    async def _write(
        self, record: Record, decide: Callable[[Document | None], Fields | None]
    ) -> bool:
        """
        Store a new state of a record.

        @param decide: returns the fields of the new document, or C{None} to store nothing.

        @return: whether a new state was stored.
        """
        await self._create_indexes()
        if not is_followed(record.kind):
            return await self._try_to_write(record, decide)
        # If one gateway stored several changes at once, the changes would use the same number.
        await self._turns.acquire()
        try:
            has_changed = await self._try_to_write(record, decide)
        finally:
            self._turns.release()
        if has_changed:
            self._listeners.notify()
        return has_changed

    async def _try_to_write(
        self, record: Record, decide: Callable[[Document | None], Fields | None]
    ) -> bool:
        followed = is_followed(record.kind)
        for _ in range(_ATTEMPTS):
            newest = await self._newest() if followed else 0
            current = await self._current(record.kind, record.id)
            fields = decide(current)
            if fields is None:
                return False
            number = (newest if followed else current["number"] if current else 0) + 1
            document = {
                "_id": _id(record, number),
                "number": number,
                "mark": new_mark(),
                "followed": followed,
                "kind": record.kind,
                "record": record.id,
                **fields,
            }
            if await self._insert(document):
                await self._supersede(current)
                return True
        raise Unavailable("too many gateways change records in MongoDB at the same time")

    async def _insert(self, document: Fields) -> bool:
        """Insert a document; return false if another gateway has used its id."""
        try:
            await self._call(lambda: self._collection().insert_one(document))
        except DuplicateKeyError:
            # The insertion may have been repeated after a step-down, and have succeeded before.
            found = await self._find_document(document["_id"])
            return found is not None and found["mark"] == document["mark"]
        return True

    async def _supersede(self, document: Document | None) -> None:
        """
        Mark a document that no longer contains the newest state of its record, so that the document
        is deleted later.
        """
        if document is not None:
            which, flag = {"_id": document["_id"]}, {"$set": {"superseded": True}}
            with suppress(Unavailable):  # the newest state is stored already
                await self._call(lambda: self._collection().update_one(which, flag))

    async def _newest(self) -> int:
        """Return the number of the last change of the kinds that gateways follow, or 0."""
        number = self._newest_known
        if number == 0 or await self._find_document(_change_id(number)) is None:
            number = await self._search_newest()
        for _ in range(_STEPS):
            if await self._find_document(_change_id(number + 1)) is None:
                break
            number += 1
        else:
            number = await self._search_newest()
        self._newest_known = number
        return number

    async def _search_newest(self) -> int:
        [*found] = await self._find(_EVERY_CHANGE, {"number": 1}, newest_first=True, limit=1)
        return int(found[0]["number"]) if found else 0

    async def _current(self, kind: str, id_: str) -> Document | None:
        """
        Return the document with the newest state of a record, which may say that the record was
        removed.
        """
        which = {"kind": kind, "record": id_}
        found = await self._find(which, newest_first=True, limit=1)
        return found[0] if found else None

    async def _find_document(self, id_: Any) -> Document | None:
        found: Document | None = await self._read(lambda: self._collection().find_one({"_id": id_}))
        return found

    async def _find(
        self,
        which: Document,
        fields: Mapping[str, int] | None = None,
        *,
        newest_first: bool = False,
        limit: int = 0,
    ) -> Sequence[Document]:
        order = sorting.DESCENDING("_id") if newest_first else sorting.ASCENDING("_id")
        found: Sequence[Document] = await self._read(
            lambda: self._collection().find(which, fields, limit=limit, sort=sorting.sort(order))
        )
        return found

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        found = _record(await self._current(kind, id_))
        return found if is_live(found, now) else None

    async def records(self, kind: str, now: float) -> Sequence[Record]:
        newest = _newest_of(await self._find({"kind": kind}))
        found = (_record(newest[key]) for key in sorted(newest))
        return [each for each in found if each is not None and is_live(each, now)]

    async def changes(self, after: str | None) -> Changes:
        position = parse_position(after)
        if position is not None and await self._is_known(position):
            documents = await self._later(position.number)
            newest = documents[-1]["number"] if documents else position.number
            if newest - position.number <= record_changes.KEPT_CHANGES:
                return _changes(documents, position)
        return _changes(await self._find(_EVERY_CHANGE), START, is_complete=True)

    async def _is_known(self, position: Position) -> bool:
        found = await self._find_document(_change_id(position.number))
        return found is not None and found["mark"] == position.mark

    async def _later(self, number: int) -> Sequence[Document]:
        """Return all changes after the change with the given number, in their order."""
        found: list[Document] = []
        for _ in range(_STEPS):
            document = await self._find_document(_change_id(number + len(found) + 1))
            if document is None:
                return found
            found.append(document)
        which = {"_id": {**_EVERY_CHANGE["_id"], "$gt": found[-1]["_id"]}}
        return [*found, *await self._find(which)]

    def on_change(self, notify: Callable[[], object]) -> Callable[[], None]:
        return self._listeners.add(notify)

    async def _watch(self, notify: Notify) -> None:
        """
        Follow the change stream; while there is no change stream, poll the number of the last
        change.
        """
        while True:
            pause = _RETRY
            try:
                await self._stream.follow(notify)
            except NoStream:
                pause = _RETRY_REFUSED
            except Unavailable:
                # The gateway learns from its own calls that the store is unavailable.
                pass
            with suppress(TimedOut):
                await with_timeout(self._clock, pause, poll(self._clock, self._newest, notify))

    async def delete_expired(self, now: float) -> None:
        """
        Delete documents with states of records that no gateway needs any more.

        The newest L{KEPT_CHANGES<record_changes.KEPT_CHANGES>} changes of the kinds that gateways
        follow are kept. Of the documents of one record the newest is deleted last, since otherwise
        an older document would count as the state of the record.
        """
        oldest = await self._newest() - record_changes.KEPT_CHANGES
        followed = {"followed": True, "number": {"$lte": oldest}}
        others, has_expired = {"followed": False}, {"until": {"$lte": now}}
        alone = [
            {**followed, "superseded": True},
            {**others, "superseded": True},
            {**others, "number": 1, **has_expired},
        ]
        await self._call(lambda: self._collection().delete_many({"$or": alone}))
        newest = [
            {**followed, "removed": True},
            {**followed, **has_expired},
            {**others, "removed_at": {"$lte": now - _GRACE}},
            {**others, **has_expired},
        ]
        for document in await self._find({"$or": newest}, limit=_PAGE):
            await self._delete(document)

    async def _delete(self, document: Document) -> None:
        """Delete a document, and before it all older documents of the same record."""
        mine = {"kind": document["kind"], "record": document["record"]}
        for which in ({**mine, "_id": {"$lt": document["_id"]}}, {"_id": document["_id"]}):
            await self._call(partial(self._collection().delete_many, which))

    async def _create_indexes(self) -> None:
        if not self._has_indexes:
            records = self._collection()
            await self._call(lambda: create_record_indexes(records))
            self._has_indexes = True

    async def close(self) -> None:
        await self._listeners.close()


def _change_id(number: int) -> ObjectId:
    """Return the id of the document with the change of a given number; ids are sorted by number."""
    return ObjectId(number.to_bytes(12, "big"))


def _id(record: Record, number: int) -> ObjectId | str:
    """
    Return the id of a new document, which contains a number of the sequence of all changes, or of
    the sequence of one record.
    """
    if is_followed(record.kind):
        return _change_id(number)
    return f"{record.kind}-{sha256(record.id.encode()).hexdigest()}-{number:012}"


def _content(record: Record) -> Fields:
    return {"content": record.content, "until": record.until}


def _record(document: Document | None) -> Record | None:
    """Return the record in a document, or C{None} if the document says that it was removed."""
    if document is None or "content" not in document:
        return None
    until = document["until"]
    return Record(
        document["kind"],
        document["record"],
        document["content"],
        None if until is None else float(until),
    )


def _newest_of(documents: Iterable[Document]) -> dict[tuple[str, str], Document]:
    """Return the last document of each record, by kind and id."""
    return {(each["kind"], each["record"]): each for each in documents}


def _changes(
    documents: Sequence[Document], after: Position, *, is_complete: bool = False
) -> Changes:
    newest = _newest_of(documents)
    found = {key: _record(document) for key, document in newest.items()}
    records = tuple(each for each in found.values() if each is not None)
    removed = tuple(key for key, each in found.items() if each is None)
    last = documents[-1] if documents else None
    position = after if last is None else Position(str(last["number"]), last["mark"])
    return Changes(str(position), records, removed, is_complete)
