"""Records in Redis, for the Redis token store, and the stream of their changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import ceil
from typing import Any, Protocol

from attrs import Factory, define, field
from twisted.internet.interfaces import IReactorTime

from authotron.model.records import FOLLOWED_KINDS, Changes, Record
from authotron.net.redis import Redis, Word
from authotron.net.redis_subscription import Subscription
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
)
from authotron.stores.redis_scripts import (
    ADD_RECORD,
    DELETE_EXPIRED_RECORDS,
    READ_CHANGES,
    REMOVE_RECORD,
    REPLACE_RECORD,
)

_PAGE = 200
"""Number of records, or of changes, that are requested from Redis at once."""

_GRACE = 60.0
"""Seconds after the expiry of a record until Redis deletes the record."""

Key = tuple[str, str]
"""The kind and the id of a record."""


class RunScript(Protocol):
    """Runs a Lua script that changes keys in Redis, as the Redis token store does."""

    def __call__(self, script: str, keys: Sequence[str], *arguments: Word) -> Awaitable[Any]:
        """Return the answer of the script."""


@define(eq=False)
class RedisRecords:
    """
    Keeps each record in a hash, the ids of each kind in a sorted set by expiry, and the newest
    changes in a stream.

    Redis runs one script after the other, so the changes have the order of the entries in the
    stream. A script that changes a record also publishes a message in a channel, which makes the
    subscribed gateways read the stream.

    @ivar _prefix: the prefix of all keys in Redis.
    @ivar _connected: returns the Redis client of the store.
    @ivar _run: a function that runs a Lua script which changes keys in Redis.
    @ivar _subscription: tells this gateway about changes.
    """

    _prefix: str
    _clock: IReactorTime
    _connected: Callable[[], Redis]
    _run: RunScript
    _subscription: Subscription
    _kinds: set[str] = field(factory=set, init=False)
    _listeners: Listeners = field(
        default=Factory(lambda self: Listeners(self._watch), takes_self=True), init=False
    )

    async def add_record(self, record: Record, now: float) -> bool:
        check_length(record)
        return await self._write(ADD_RECORD, record, repr(float(now)), self._key(record.kind))

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        check_length(record)
        return await self._write(REPLACE_RECORD, record, earlier.content)

    async def remove_record(self, kind: str, id_: str) -> bool:
        return await self._write(REMOVE_RECORD, Record(kind, id_, ""))

    async def _write(self, script: str, record: Record, *arguments: str) -> bool:
        """
        Run a script that changes a record, and notes the change; return whether the record was
        changed.
        """
        self._kinds.add(record.kind)
        followed = is_followed(record.kind)
        until = "" if record.until is None else repr(float(record.until))
        answer = await self._run(
            script,
            (
                self._key(record.kind, record.id),
                self._index(record.kind),
                changes_key(self._prefix),
            ),
            record.id,
            record.content,
            until,
            self._milliseconds(record),
            new_mark() if followed else "",
            record_changes.KEPT_CHANGES,
            record.kind,
            *arguments,
        )
        if answer and followed:
            self._listeners.notify()
        return bool(answer)

    def _milliseconds(self, record: Record) -> int | str:
        """
        Return the duration after which Redis deletes a record; it is not a point in time, because
        the clocks of Redis and of the gateway may differ.
        """
        if record.until is None:
            return ""
        return ceil(max(record.until - self._clock.seconds(), 0) + _GRACE) * 1000

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        [found] = await self._read([(kind, id_)])
        return found if is_live(found, now) else None

    async def records(self, kind: str, now: float) -> Sequence[Record]:
        found = await self._read([(kind, id_) for id_ in await self._ids(kind, f"({now!r}")])
        live = [each for each in found if each is not None and is_live(each, now)]
        return sorted(live, key=lambda each: each.id)

    async def _ids(self, kind: str, lowest: str = "-inf") -> list[str]:
        """Return the ids of the records of a kind that expire after a time."""
        found = await self._connected().ask("ZRANGEBYSCORE", self._index(kind), lowest, "+inf")
        return [each.decode() for each in found]

    async def _read(self, keys: Iterable[Key]) -> list[Record | None]:
        """Return the records with the given keys, and C{None} for each that is missing."""
        wanted, found = [*keys], []
        for first in range(0, len(wanted), _PAGE):
            page = wanted[first:][:_PAGE]
            commands = [("HMGET", self._key(*key), "content", "until") for key in page]
            answers = await self._connected().ask_all(commands)
            found += [_record(key, *answer) for key, answer in zip(page, answers, strict=True)]
        return found

    async def changes(self, after: str | None) -> Changes:
        position = parse_position(after)
        known, entries = await self._read_stream(position)
        if not known:
            return await self._everything(_last_position(entries))
        keys: dict[Key, None] = {}
        # The first entry of the answer is that at the position itself, which was read before.
        while len(entries) > 1:
            keys.update((_key_of(entry), None) for entry in entries[1:])
            position = _last_position(entries)
            known, entries = await self._read_stream(position)
        return await self._changes_of(keys, position or START)

    async def _everything(self, position: Position) -> Changes:
        """
        Return all records of the kinds that gateways follow, and the kinds and ids of the records
        that were removed lately.

        Records change meanwhile. The stream is read after the ids of records, so that a record
        which is removed in between is known as removed; and a change after C{position} is returned
        once more by the next call.
        """
        keys = {
            (kind, id_): None for kind in sorted(FOLLOWED_KINDS) for id_ in await self._ids(kind)
        }
        start = "-"
        while entries := await self._connected().ask(
            "XRANGE", changes_key(self._prefix), start, "+", "COUNT", _PAGE
        ):
            keys.update((_key_of(entry), None) for entry in entries)
            start = _after(entries[-1][0])
        return await self._changes_of(keys, position, is_complete=True)

    async def _changes_of(
        self, keys: Iterable[Key], position: Position, *, is_complete: bool = False
    ) -> Changes:
        wanted = [*keys]
        found = await self._read(wanted)
        records = tuple(each for each in found if each is not None)
        removed = tuple(key for key, each in zip(wanted, found, strict=True) if each is None)
        return Changes(str(position), records, removed, is_complete)

    async def _read_stream(self, after: Position | None) -> tuple[bool, list[Any]]:
        """
        Return true and the next entries of the stream, beginning with the one at a position; or
        false and the newest entry, if the stream has no entry at the position.
        """
        place, mark = (after.place, after.mark) if after is not None else ("", "")
        keys = (changes_key(self._prefix), f"{self._prefix}none")
        command = ("EVAL", READ_CHANGES, len(keys), *keys, place, mark, _PAGE)
        is_known, entries = await self._connected().ask(*command)
        return bool(is_known), entries

    def on_change(self, notify: Callable[[], object]) -> Callable[[], None]:
        return self._listeners.add(notify)

    async def _watch(self, notify: Notify) -> None:
        await self._subscription.follow(notify)

    async def delete_expired(self, now: float) -> None:
        """
        Delete expired records of all kinds that this process has changed; those of other kinds are
        deleted by the gateways that change them.
        """
        for kind in sorted(self._kinds):
            arguments = (self._key(kind), repr(float(now)), _PAGE)
            while await self._run(DELETE_EXPIRED_RECORDS, [self._index(kind)], *arguments) == _PAGE:
                pass

    async def close(self) -> None:
        await self._listeners.close()

    def _key(self, kind: str, id_: str = "") -> str:
        return f"{self._prefix}record:{kind}:{id_}"

    def _index(self, kind: str) -> str:
        return f"{self._prefix}records:{kind}"


def changes_key(prefix: str) -> str:
    """Return the key of the stream of changes, which is also the name of the channel."""
    return f"{prefix}changes"


def _record(key: Key, content: bytes | None, until: bytes | None) -> Record | None:
    if content is None:
        return None
    return Record(*key, content.decode(), float(until) if until else None)


def _key_of(entry: Any) -> Key:
    """Return kind and id of the changed record in an entry of the stream."""
    _, (_, _, _, kind, _, id_) = entry
    return kind.decode(), id_.decode()


def _last_position(entries: Sequence[Any]) -> Position:
    """Return the position of the last entry of the stream."""
    if not entries:
        return START
    place, (_, mark, *_) = entries[-1]
    return Position(place.decode(), mark.decode())


def _after(place: bytes) -> str:
    """Return the lowest possible id of an entry after another entry."""
    milliseconds, _, number = place.decode().partition("-")
    return f"{milliseconds}-{int(number) + 1}"
