"""How stores read the rows of API tokens, and how long they remember revoked tokens."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.pieces import Pieces
from authotron.model.token import (
    Row,
    Token,
    from_row,
    is_imported,
)

MOST_REVOKED, MOST_REVOKED_OF_OWNER = 10_000, 1_000
"""
Maximum numbers of revoked API tokens that a store keeps a record of: of all owners together, and of
one owner.
"""

REVOKED_FOR = 30 * 86_400.0
"""Seconds for which a store keeps the record that an API token was revoked."""

IMPORTED_REVOKED_FOR = 10 * 366 * 86_400.0
"""
Seconds for which a store keeps the record that an imported API token was revoked, so that the token
is not imported again from the service that issued it.
"""


def remembered_until(row: Row, now: float) -> float:
    """Return the time until which a store keeps the record that the token in C{row} was revoked."""
    return now + (IMPORTED_REVOKED_FOR if is_imported(row) else REVOKED_FOR)


async def tokens_of(rows: Iterable[Row], clock: IReactorTime | None) -> list[Token]:
    """
    Convert C{rows} to tokens, with pauses in which the reactor does other work.

    A row that an earlier version stored may have 60 kB; converting such a row takes 1 ms of
    processor time.

    @param clock: the clock of the reactor, by which to pause between rows; if it is C{None}, all
        rows are converted without a pause, as outside of the reactor's thread.
    """
    found, pieces = [], Pieces(clock) if clock else None
    for row in rows:
        found.append(from_row(row))
        if pieces is not None:
            await pieces.add(len(row["fixed"]))
    return found
