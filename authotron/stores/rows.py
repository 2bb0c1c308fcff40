"""Rows of API tokens: read in pieces, and kept for some time after a token is revoked."""

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
"""Revoked tokens that a store remembers, and those of one owner among them."""


REVOKED_FOR = 30 * 86_400.0
"""Seconds for which a store remembers that a token was revoked."""


IMPORTED_REVOKED_FOR = 10 * 366 * 86_400.0
"""The same for imported tokens: as long as the service may exist from which they could be copied
again."""


def remembered_until(row: Row, now: float) -> float:
    """Until when the revocation of a token is remembered."""
    return now + (IMPORTED_REVOKED_FOR if is_imported(row) else REVOKED_FOR)


async def tokens_of(rows: Iterable[Row], clock: IReactorTime | None) -> list[Token]:
    """
    Read several rows, in pieces.

    Rows of earlier versions may have 60 kB each, which take 1 ms of processor time.

    @param clock: C{None} if there is no reactor to give way to.
    """
    found, pieces = [], Pieces(clock) if clock else None
    for row in rows:
        found.append(from_row(row))
        if pieces is not None:
            await pieces.add(len(row["fixed"]))
    return found
