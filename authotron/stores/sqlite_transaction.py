"""One transaction of SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(database: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """
    Run a C{with} block as one SQLite transaction: commit at the end, or roll back after an
    exception.

    @param kind: C{IMMEDIATE} to lock the database for changes at the beginning of the transaction,
        or C{DEFERRED} for a transaction that only reads, and sees one state of the database.
    """
    database.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
