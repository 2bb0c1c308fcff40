"""
Back up the SQLite database of a token store to a file, and restore a database from such a backup.

A backup file is written, and read, with the rights of the account that runs the command. The
database is accessed with the rights of the account that owns its folder. A backup is made or
restored by way of a temporary file beside the database, because the account that runs the command
may lack access to the database, and the account that owns the database may lack access to the
backup.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO
from urllib.parse import quote

from authotron.config import files
from authotron.model.errors import Unavailable
from authotron.stores.sqlite_statements import MIGRATIONS

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def temporary(database: Path) -> Path:
    """Return an unused file name in the folder of a database."""
    return database.with_name(f"{database.name}.{token_hex(8)}")


def export(database: sqlite3.Connection, target: Path) -> None:
    """
    Write a compact copy of a database, in its present state, to a new file in the
    same folder.
    """
    files.make_file(target)
    database.execute("VACUUM INTO ?", [str(target)])


def take_out(inside: Path, outside: Path) -> None:
    """
    Copy the temporary file beside the database to C{outside}, and delete the temporary file.

    @raise OSError: the file C{outside} exists already, or a file cannot be read or written.
    """
    with files.acting_as_owner(inside):
        source = os.open(inside, _OLD)
    with os.fdopen(source, "rb") as reader, _created(outside) as writer:
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())


def take_in(outside: Path, inside: Path) -> None:
    """
    Copy a backup to a temporary file beside the database.

    @raise OSError: a file cannot be read or written.
    """
    with os.fdopen(os.open(outside, os.O_RDONLY | os.O_CLOEXEC), "rb") as reader:
        with files.acting_as_owner(inside):
            target = os.open(inside, _NEW, 0o600)
        with os.fdopen(target, "wb") as writer:
            shutil.copyfileobj(reader, writer)


def discard(inside: Path) -> None:
    """Delete a temporary file beside the database, if it exists."""
    with files.acting_as_owner(inside), suppress(FileNotFoundError):
        inside.unlink()


@contextmanager
def _created(path: Path) -> Iterator[BinaryIO]:
    """
    Create a file that only the current operating system user can access, and delete the file if the
    C{with} block fails.
    """
    descriptor = os.open(path, _NEW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as writer:
            yield writer
    except BaseException:
        path.unlink()
        raise


@contextmanager
def opened(backup: Path) -> Iterator[sqlite3.Connection]:
    """
    Open a backup for reading, and verify that the file is a backup of a token store.

    @raise Unavailable: the file is not a backup of a token store, or is damaged.
    """
    uri = f"file:{quote(str(backup.absolute()))}?mode=ro&immutable=1"
    source = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        _verify(source)
        yield source
    finally:
        source.close()


def _verify(source: sqlite3.Connection) -> None:
    try:
        [version] = source.execute("PRAGMA user_version").fetchone()
        [state] = source.execute("PRAGMA quick_check(1)").fetchone()
        source.execute("SELECT id FROM tokens LIMIT 1")
    except sqlite3.DatabaseError:
        raise Unavailable("the file is damaged, or not a backup of a token store") from None
    if version > len(MIGRATIONS):
        raise Unavailable("the backup was written by a newer version of authotron")
    if state != "ok":
        raise Unavailable("the backup is damaged")


def pepper_check(source: sqlite3.Connection) -> str | None:
    """
    Return the check value of the pepper in a database of any version, or C{None} if the database
    has none.
    """
    # The table "notes" does not exist in a database of an early version, so it may be missing.
    with suppress(sqlite3.OperationalError):
        row = source.execute("SELECT value FROM notes WHERE name = 'pepper'").fetchone()
        return None if row is None else str(row[0])
    return None
