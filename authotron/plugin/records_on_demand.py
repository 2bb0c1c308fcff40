"""
The methods of a token store that keeps records, as a base class of stores; the module that does the
work is imported at the first call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from attrs import define, field

if TYPE_CHECKING:  # a gateway that uses no records does not import this module
    from authotron.model.records import Changes, Record


class RecordKeeper(Protocol):
    """Keeps the records of one token store, by the methods of L{IKeepsRecords}."""

    async def add_record(self, record: Record, now: float) -> bool:
        """Implement L{IKeepsRecords.add_record}."""

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        """Implement L{IKeepsRecords.record}."""

    async def records(self, kind: str, now: float) -> Sequence[Record]:
        """Implement L{IKeepsRecords.records}."""

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        """Implement L{IKeepsRecords.replace_record}."""

    async def remove_record(self, kind: str, id_: str) -> bool:
        """Implement L{IKeepsRecords.remove_record}."""

    async def changes(self, after: str | None) -> Changes:
        """Implement L{IKeepsRecords.changes}."""

    def on_change(self, notify: Callable[[], object]) -> Callable[[], None]:
        """Implement L{IKeepsRecords.on_change}."""

    async def delete_expired(self, now: float) -> None:
        """Delete expired records, and what the store no longer needs of removed records."""

    async def close(self) -> None:
        """Stop looking for changes of records."""


@define(eq=False)
class RecordsOnDemand:
    """Implements the methods of L{IKeepsRecords} that concern records by a L{RecordKeeper}."""

    _keeper: RecordKeeper | None = field(default=None, init=False, repr=False)

    def _make_keeper(self) -> RecordKeeper:
        """Import the module that keeps records in the database of this store, and use it."""
        raise NotImplementedError

    def _records(self) -> RecordKeeper:
        if self._keeper is None:
            self._keeper = self._make_keeper()
        return self._keeper

    async def add_record(self, record: Record, now: float) -> bool:
        return await self._records().add_record(record, now)

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        return await self._records().record(kind, id_, now)

    async def records(self, kind: str, now: float) -> Sequence[Record]:
        return await self._records().records(kind, now)

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        return await self._records().replace_record(record, earlier)

    async def remove_record(self, kind: str, id_: str) -> bool:
        return await self._records().remove_record(kind, id_)

    async def changes(self, after: str | None) -> Changes:
        return await self._records().changes(after)

    def on_change(self, notify: Callable[[], object]) -> Callable[[], None]:
        return self._records().on_change(notify)

    async def _delete_expired_records(self, now: float) -> None:
        """Delete expired records, if this process has used records at all."""
        if self._keeper is not None:
            await self._keeper.delete_expired(now)

    async def _close_records(self) -> None:
        """Stop looking for changes of records, if this process has used records at all."""
        if self._keeper is not None:
            await self._keeper.close()
