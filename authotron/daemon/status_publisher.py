"""
Apply revocations to the Token Status Lists of this process, and store the lists for the other
gateways.

This module is imported only if C{events.status_list} is configured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.pieces import in_pieces
from authotron.concurrency.racing import was_cancelled, with_timeout
from authotron.concurrency.waiters import Waiters
from authotron.gateway.gateway import LiveGateway
from authotron.gateway.records import KindChanges, RecordStore
from authotron.gateway.revocations import RevocationTable
from authotron.gateway.status_lists import StatusList, StatusLists
from authotron.gateway.stored_status_list import LEASE, StoredStatusList
from authotron.model import revocation
from authotron.model.authentication import Authentication
from authotron.model.errors import TimedOut, Unavailable
from authotron.model.records import Record
from authotron.model.revocation import Revocation

_RETRY = 1.0
"""Seconds after which the lists are stored again if the token store could not be reached."""


@define(eq=False)
class StatusPublisher:
    """
    Keeps the Token Status Lists of this process up to date with the revocations that the process
    knows.
    """

    _serving: LiveGateway[Any]
    _clock: IReactorTime
    _lists: StatusLists
    _new: list[Revocation] = field(factory=list, init=False)
    _later: dict[str, Revocation] = field(factory=dict, init=False)
    _is_withdrawn: bool = field(default=False, init=False)
    _stored: dict[str, Record] = field(factory=dict, init=False, repr=False)
    _changed: Waiters[None] = field(factory=Waiters, init=False)
    _end: Callable[[], None] | None = field(default=None, init=False)
    _working: Deferred[None] | None = field(default=None, init=False)
    _log = Logger()

    def start(self) -> None:
        """Begin to follow the revocations."""
        records = self._serving.records
        if records is not None:
            self._end = records.subscribe(revocation.KIND, self.apply)
        self._work()

    def stop(self) -> None:
        """Stop following the revocations."""
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
        if self._end is not None:
            self._end()
            self._end = None

    def apply(self, changes: KindChanges) -> None:
        """Note changed revocations, which are applied to the status lists shortly after."""
        for record in changes.records:
            try:
                self._new.append(revocation.of_record(record))
            except ValueError:
                # Requests are answered with 503 as long as a revocation cannot be applied.
                continue
        for id_ in changes.removed:
            self._later.pop(id_, None)
            self._is_withdrawn = True
        self._changed.succeed(None)

    def _work(self) -> None:
        self._working = Deferred.fromCoroutine(self._follow())
        self._working.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if was_cancelled(failure):
            return
        self._log.failure(
            "updating the status lists failed because of an internal error, trying again",
            failure,
            event="events.status.broken",
        )
        self._is_withdrawn = True
        self._clock.callLater(_RETRY, self._work_again)

    def _work_again(self) -> None:
        if self._working is not None:
            self._work()

    async def _follow(self) -> None:
        while True:
            await self.update()
            delay = LEASE
            try:
                await self.store()
            except Unavailable:
                delay = _RETRY
            if not (self._new or self._is_withdrawn):
                with suppress(TimedOut):
                    await with_timeout(self._clock, delay, self._wait())

    async def _wait(self) -> None:
        await self._changed.join()

    async def update(self) -> None:
        """Apply all changed revocations, and those whose time has come, to the status lists."""
        new, self._new = [*self._new, *self._due()], []
        is_withdrawn, self._is_withdrawn = self._is_withdrawn, False
        revocations = self._serving.gateway.revocations
        if revocations is None:
            return
        if is_withdrawn:
            await in_pieces(
                self._clock, self._lists.sweep_anew(lambda found: revocations.of(found) is not None)
            )
        elif new:
            await in_pieces(self._clock, self._lists.sweep(self._concerned(new)))

    def _due(self) -> Iterator[Revocation]:
        now = self._clock.seconds()
        for each in [*self._later.values()]:
            if each.counts(now):
                del self._later[each.id]
                yield each

    def _concerned(self, new: list[Revocation]) -> Callable[[Authentication], bool]:
        """Return a function that says whether new revocations concern a credential."""
        now, table = self._clock.seconds(), RevocationTable()
        for each in new:
            if each.counts(now):
                table.add(each)
            elif each.active_from is not None and now < each.active_from:
                self._later[each.id] = each
        revocations = self._serving.gateway.revocations
        assert revocations is not None
        known = revocations.claims
        return lambda found: next(table.of(found, lambda: known(found)), None) is not None

    async def store(self) -> None:
        """
        Store the status lists, so that other processes and gateways can publish them.

        @raise Unavailable: the token store cannot be reached.
        """
        for each in [*self._lists.closed]:
            await self._store(each)
            self._lists.closed.remove(each)
            self._stored.pop(each.id, None)
        for each in [*self._lists.lists]:
            await self._store(each)

    async def _store(self, each: StatusList) -> None:
        records, now = self._serving.records, self._clock.seconds()
        if records is None or not each.ends:
            return
        status_list = each.statuses.encoded()
        seen = now if records.confirmed is None else min(now, records.confirmed)
        record = StoredStatusList(each.id, status_list, seen, each.size).record(each.ends + LEASE)
        earlier = self._stored.get(each.id)
        if earlier is None or not await records.store.replace_record(record, earlier):
            await self._store_anew(record, now, records.store)
        self._stored[each.id] = record

    async def _store_anew(self, record: Record, now: float, store: RecordStore) -> None:
        """Store a status list of which the publisher does not know the stored record."""
        if not await store.add_record(record, now):
            earlier = await store.record(record.kind, record.id, now)
            if earlier is not None:
                await store.replace_record(record, earlier)
