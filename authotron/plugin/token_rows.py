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
"""Revoked API tokens that a store remembers, and those of one owner among them."""

REVOKED_FOR = 30 * 86_400.0
"""Seconds for which a store remembers that an API token was revoked."""

IMPORTED_REVOKED_FOR = 10 * 366 * 86_400.0
"""
Seconds for which a store remembers that an imported API token was revoked: as long as the service
may exist from which the token could be copied again.
"""


def remembered_until(row: Row, now: float) -> float:
    """Return the time until which a store remembers that the token in C{row} was revoked."""
    return now + (IMPORTED_REVOKED_FOR if is_imported(row) else REVOKED_FOR)


async def tokens_of(rows: Iterable[Row], clock: IReactorTime | None) -> list[Token]:
    """
    Read the tokens in C{rows}, and let the reactor do other work in between.

    A row that an earlier version stored may have 60 kB, which takes 1 ms of processor time.

    @param clock: the reactor; C{None} outside of the reactor's thread, to read without a break.
    """
    found, pieces = [], Pieces(clock) if clock else None
    for row in rows:
        found.append(from_row(row))
        if pieces is not None:
            await pieces.add(len(row["fixed"]))
    return found
