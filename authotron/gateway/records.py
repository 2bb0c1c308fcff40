"""
The records that this process shares, through the token store, with all gateways that use the store.

A record that the gateway has made public is in the token store, and every worker of this machine
has applied it. The gateways on other machines follow the changes in the token store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from authotron.model import revocation
from authotron.model.records import FOLLOWED_KINDS, Changes, Record

RESTORED_KINDS = frozenset({revocation.KIND})
"""
The kinds of records that a gateway stores again if the token store has lost them. A gateway never
deletes a record of one of these kinds before the end of the record: a record that is withdrawn
stays in the token store, marked as withdrawn.
"""

WITHDRAWN = "withdrawn"
"""The content of a withdrawn record of a kind in L{RESTORED_KINDS}."""

_WITHDRAWN_FOR = 30 * 86_400.0
"""
Seconds for which a withdrawn record without an end stays in the token store, so that a gateway that
was disconnected from the token store meanwhile does not store it again.
"""

_PRUNING = 60.0
"""Seconds between two searches for records that have ended."""

WORD = "records"
"""The first word of the messages by which the workers of a machine pass on changed records."""

Key = tuple[str, str]
"""The kind and the id of a record."""


class RecordStore(Protocol):
    """The methods of a token store by which a gateway keeps records."""

    async def add_record(self, record: Record, now: float) -> bool:
        """Add a record; return false if the store has a record of this kind and id already."""

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        """Return a record, or C{None} if it is missing."""

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        """Replace a record, if its content is still that of C{earlier}."""

    async def remove_record(self, kind: str, id_: str) -> bool:
        """Remove a record; return whether this call has removed it."""


@frozen
class KindChanges:
    """
    Changes of the records of one kind.

    @ivar records: the records that are new, or have a new content.
    @ivar removed: the ids of the records that were removed or withdrawn, or have ended.
    """

    records: Sequence[Record] = ()
    removed: Sequence[str] = ()


Subscriber = Callable[[KindChanges], object]
"""A function that is called with each change of the records of one kind."""

Share = Callable[[str, object], Awaitable[None]]
"""
A function that sends a message to all other workers of this machine, and returns once all workers
have acted on the message.
"""


@define(eq=False)
class SharedRecords:
    """
    The records that this process knows, and the way to change them for all gateways.

    @ivar store: the token store that keeps the records; a reload of the configuration may replace
        the object.
    @ivar confirmed: the time, in seconds since the epoch, at which all changes in the token store
        were read last, or C{None} before the records were read for the first time.
    @ivar problem: why the records in the token store could not be read, or C{None} if they could.
    """

    store: RecordStore
    _now: Callable[[], float]
    _share: Share
    confirmed: float | None = field(default=None, init=False)
    problem: str | None = field(default=None, init=False)
    _known: dict[Key, Record] = field(factory=dict, init=False, repr=False)
    _lost: dict[Key, Record | None] = field(factory=dict, init=False, repr=False)
    _subscribers: dict[str, list[Subscriber]] = field(factory=dict, init=False, repr=False)
    _next_pruning: float = field(default=0.0, init=False)
    _log = Logger()

    @property
    def age(self) -> float | None:
        """
        Seconds since all changes in the token store were read last, or C{None} before the records
        were read for the first time.
        """
        return None if self.confirmed is None else max(0.0, self._now() - self.confirmed)

    # Changing records

    async def publish(self, record: Record) -> bool:
        """
        Store a record, and return once every worker of this machine has applied it.

        @return: whether the record is new; if a record of this kind and id was stored before, that
            record stays, and every worker of this machine has applied it.

        @raise Unavailable: the token store cannot be reached, or a worker did not confirm; perhaps
            the record was stored.
        """
        is_new = await self.store.add_record(record, self._now())
        stored = record if is_new else await self.store.record(record.kind, record.id, self._now())
        if stored is not None:
            await self._apply_everywhere([stored])
        return is_new

    async def replace(self, record: Record, earlier: Record) -> bool:
        """
        Replace a record whose content is still that of C{earlier}, and return once every worker of
        this machine has applied the new content.

        @return: whether the record was replaced.

        @raise Unavailable: the token store cannot be reached, or a worker did not confirm; perhaps
            the record was replaced.
        """
        if not await self.store.replace_record(record, earlier):
            return False
        await self._apply_everywhere([record])
        return True

    async def withdraw(self, kind: str, id_: str) -> bool:
        """
        Withdraw a record, and return once no worker of this machine applies it any more.

        @return: whether this call has withdrawn the record; false if the record is unknown.

        @raise Unavailable: the token store cannot be reached, or a worker did not confirm; perhaps
            the record was withdrawn.
        """
        if kind not in RESTORED_KINDS:
            if not await self.store.remove_record(kind, id_):
                return False
            await self._apply_everywhere([], [(kind, id_)])
            return True
        now = self._now()
        stored = await self.store.record(kind, id_, now)
        if stored is None or stored.content == WITHDRAWN:
            return False
        return await self.replace(withdrawn(stored, now), stored)

    async def _apply_everywhere(
        self, records: Sequence[Record], removed: Sequence[Key] = ()
    ) -> None:
        self._apply(records, removed)
        await self._share(WORD, as_message(records, removed))

    def received(self, message: Any) -> None:
        """
        Apply the changes of records that another worker of this machine has made.

        @raise ValueError: the message is malformed.
        """
        self._apply(*from_message(message))

    # Following the token store

    def adopt(self, changes: Changes) -> None:
        """
        Apply changes that were read from the token store.

        A record of a kind in L{RESTORED_KINDS} that the token store neither has nor names as
        removed, although it has not ended, was lost; it stays known, and L{restore} stores it
        again.
        """
        now = self._now()
        for record in changes.records:
            self._lost.pop((record.kind, record.id), None)
        removed = {*changes.removed}
        if changes.is_complete:
            listed = {(each.kind, each.id) for each in changes.records}
            missing = self._known.keys() - listed - removed
            lost = {key for key in missing if self._is_restored(key, now)}
            self._lost |= dict.fromkeys(lost)
            removed |= missing - lost
        self._apply(changes.records, removed)
        self.confirmed, self.problem = now, None
        if now >= self._next_pruning or now < self._next_pruning - _PRUNING:
            self._next_pruning = now + _PRUNING
            self._apply((), [key for key, each in self._known.items() if _has_ended(each, now)])

    def _is_restored(self, key: Key, now: float) -> bool:
        known = self._known.get(key)
        return known is not None and key[0] in RESTORED_KINDS and not _has_ended(known, now)

    async def restore(self) -> None:
        """
        Store the records again that the token store has lost.

        @raise Unavailable: the token store cannot be reached; the next call tries again.
        """
        while self._lost:
            key, stored = next(iter(self._lost.items()))
            wanted = self._known.get(key)
            if wanted is not None:
                await self._restore(wanted, stored)
            self._lost.pop(key, None)

    async def _restore(self, wanted: Record, stored: Record | None) -> None:
        """@param stored: the record in the token store which lacks the withdrawal, if any."""
        if stored is None:
            was_lost = await self.store.add_record(wanted, self._now())
        else:
            was_lost = await self.store.replace_record(wanted, stored)
        if was_lost:
            self._log.warn(
                "the token store had lost the {kind} {id}, which is stored again",
                kind=wanted.kind,
                id=wanted.id,
                event="records.restored",
            )

    # Who gets to know of changes

    def subscribe(self, kind: str, subscriber: Subscriber) -> Callable[[], None]:
        """
        Call a function with all known records of a kind now, and with each later change.

        @return: a function that ends the calls.
        """
        listed = self._subscribers.setdefault(kind, [])
        listed.append(subscriber)
        known = [each for each in self._known.values() if each.kind == kind]
        subscriber(KindChanges([each for each in known if each.content != WITHDRAWN]))
        return lambda: listed.remove(subscriber)

    def _apply(self, records: Iterable[Record], removed: Iterable[Key]) -> None:
        """Remember changed records, and call the subscribers for the kinds that have changes."""
        added: dict[str, list[Record]] = {}
        gone: dict[str, list[str]] = {}
        for record in records:
            key = (record.kind, record.id)
            known = self._known.get(key)
            if known == record:
                continue
            if known is not None and known.content == WITHDRAWN:
                # A withdrawal is final: a record that is not withdrawn was read before the
                # withdrawal, or the token store has lost the withdrawal.
                self._lost[key] = record
                continue
            self._known[key] = record
            if record.content == WITHDRAWN and record.kind in RESTORED_KINDS:
                gone.setdefault(record.kind, []).append(record.id)
            else:
                added.setdefault(record.kind, []).append(record)
        for key in [*removed]:
            if self._known.pop(key, None) is not None:
                gone.setdefault(key[0], []).append(key[1])
        for kind in FOLLOWED_KINDS & (added.keys() | gone.keys()):
            changes = KindChanges(added.get(kind, ()), gone.get(kind, ()))
            for subscriber in [*self._subscribers.get(kind, ())]:
                self._call(subscriber, changes)

    def _call(self, subscriber: Subscriber, changes: KindChanges) -> None:
        """Call a subscriber; a defect in it must not keep changes from other subscribers."""
        try:
            subscriber(changes)
        except Exception:  # noqa: BLE001 - see above
            self._log.failure(
                "applying changed records failed because of an internal error",
                event="records.broken",
            )


def withdrawn(record: Record, now: float) -> Record:
    """Return the record that replaces a record which is withdrawn."""
    until = now + _WITHDRAWN_FOR
    if record.until is not None:
        until = max(record.until, now + revocation.KEPT_AFTER_END)
    return evolve(record, content=WITHDRAWN, until=until)


def _has_ended(record: Record, now: float) -> bool:
    return record.until is not None and record.until <= now


def as_message(records: Iterable[Record], removed: Iterable[Key]) -> Mapping[str, object]:
    """Return changes of records as a value that can be sent to another process as JSON."""
    return {
        "records": [[each.kind, each.id, each.content, each.until] for each in records],
        "removed": [[*key] for key in removed],
    }


def from_message(message: Any) -> tuple[list[Record], list[Key]]:
    """
    Return the changes of records that L{as_message} has converted.

    @raise ValueError: the message is malformed.
    """
    try:
        records = [
            Record(str(kind), str(id_), str(content), until)
            for kind, id_, content, until in message["records"]
        ]
        removed = [(str(kind), str(id_)) for kind, id_ in message["removed"]]
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError("a message about records is malformed") from error
    return records, removed
