"""Tokens kept in a file of this machine: nothing to install, nothing to run."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Literal, TypeVar

from attrs import define, field
from pydantic import Field
from zope.interface import implementer

from authotron.errors import ConfigError, Problem, Taken, Unavailable
from authotron.settings import FilePath, Seconds
from authotron.stores import ITokenStore, StoreConfig, Wanted, tokens_of
from authotron.tokens import CHANGEABLE, COLUMNS, Token
from authotron.world import World

T = TypeVar("T")

_MIGRATIONS = (
    """
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY,
        hashed TEXT NOT NULL UNIQUE,
        realm TEXT NOT NULL,
        username TEXT NOT NULL,
        name TEXT NOT NULL,
        comment TEXT NOT NULL,
        created REAL NOT NULL,
        expires REAL,
        used REAL,
        fixed TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX tokens_of_owner ON tokens (realm, username, id);
    CREATE INDEX tokens_by_end ON tokens (expires) WHERE expires IS NOT NULL;
    """,
)
"""Each brings a database from the version that is its place to the next."""


class Config(StoreConfig):
    """`type: sqlite`: tokens in a file. A pepper is made beside it if none is configured."""

    makes_pepper: ClassVar[bool] = True

    type: Literal["sqlite"]
    path: FilePath = Field(description="the file of the database; only we may read it")
    synchronous: Literal["full", "normal"] = Field(
        default="full",
        description="full: what was acknowledged survives the loss of power; normal: only the "
        "death of the process",
    )
    busy_timeout: Seconds = Field(
        default=2, description="seconds to wait for another process that writes"
    )


@implementer(ITokenStore)
@define(eq=False)
class SqliteStore:
    """
    Keeps tokens in a database file.

    One connection, one piece of work at a time, always in a thread: SQLite has one writer anyway,
    and a read takes less time than to hand it over.
    """

    _path: Path
    _synchronous: str
    _busy_timeout: float
    _world: World
    type: str = field(default="sqlite", init=False)
    pepper: bytes | None = field(default=None, init=False, repr=False)
    _database: sqlite3.Connection | None = field(default=None, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    async def open(self) -> None:
        self.pepper = await self._do(self._opened)

    async def close(self) -> None:
        def close() -> None:
            with self._lock:
                database, self._database = self._database, None
                if database is not None:
                    database.close()

        await self._world.threads(close)

    async def reach(self) -> None:
        await self._ask(lambda database: database.execute("SELECT 1 FROM tokens LIMIT 1"))

    async def add(self, token: Token) -> None:
        row, places = token.row(), ", ".join("?" * len(COLUMNS))
        values = [row[column] for column in COLUMNS]

        def add(database: sqlite3.Connection) -> bool:
            try:
                database.execute(f"INSERT INTO tokens VALUES ({places})", values)  # noqa: S608 - question marks
            except sqlite3.IntegrityError:
                return False
            return True

        if not await self._ask(add):
            raise Taken

    async def get(self, id_: str) -> Token | None:
        found = await self._select("WHERE id = ?", [id_])
        return found[0] if found else None

    async def listed(self, wanted: Wanted) -> Sequence[Token]:
        terms, values = ["id > ?"], [wanted.after]
        for column, value in (("realm", wanted.realm), ("username", wanted.username)):
            if value is not None:
                terms.append(f"{column} = ?")
                values.append(value)
        where = f"WHERE {' AND '.join(terms)} ORDER BY id LIMIT ?"
        return await self._select(where, [*values, wanted.most])

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        assert changes.keys() <= CHANGEABLE
        setting = ", ".join(f"{column} = ?" for column in changes)
        return (
            await self._changed(
                f"UPDATE tokens SET {setting} WHERE id = ?",  # noqa: S608 - our own names
                [*changes.values(), id_],
            )
            > 0
        )

    async def remove(self, id_: str) -> bool:
        return await self._changed("DELETE FROM tokens WHERE id = ?", [id_]) > 0

    async def sweep(self, now: float) -> int:
        return await self._changed("DELETE FROM tokens WHERE expires <= ?", [now])

    async def _select(self, where: str, values: Iterable[Any]) -> list[Token]:
        text = f"SELECT {', '.join(COLUMNS)} FROM tokens {where}"  # noqa: S608 - our own names
        rows = await self._ask(lambda database: database.execute(text, list(values)).fetchall())
        found = (dict(zip(COLUMNS, row, strict=True)) for row in rows)
        return await tokens_of(found, self._world.clock)

    async def _changed(self, text: str, values: Iterable[Any]) -> int:
        return await self._ask(lambda database: database.execute(text, list(values)).rowcount)

    async def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def ask() -> T:
            if self._database is None:
                raise Unavailable("the database is not open")
            return work(self._database)

        return await self._do(ask)

    async def _do(self, work: Callable[[], T]) -> T:
        # The lock is for work whose waiter has left: the thread goes on, and another may begin.
        def alone() -> T:
            with self._lock:
                return work()

        try:
            return await self._world.threads(alone)
        except sqlite3.Error as error:
            raise Unavailable(f"the database says {type(error).__name__}: {error}") from None
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from None

    def _opened(self) -> bytes:
        if self._database is None:
            os.close(_made(self._path, os.O_CREAT | os.O_RDWR))
            database = sqlite3.connect(
                self._path, self._busy_timeout, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(database)
            except BaseException:
                database.close()
                raise
            self._database = database
        return _kept_pepper(self._path.with_name(f"{self._path.name}.pepper"))

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {self._synchronous}")
        database.execute("BEGIN IMMEDIATE")
        [version] = database.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            database.execute("ROLLBACK")
            newer = f"{self._path} was written by a newer version of authotron"
            raise ConfigError([Problem("store.path", newer)])
        for migration in _MIGRATIONS[version:]:
            for statement in filter(str.strip, migration.split(";")):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        database.execute("COMMIT")


def _made(path: Path, flags: int) -> int:
    """
    Open a file that may have to be made.

    What root makes at a terminal belongs to who owns the folder, or the gateway could not use it.
    """
    is_new = not path.exists()
    descriptor = os.open(path, flags, 0o600)
    if is_new and os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def _kept_pepper(path: Path) -> bytes:
    """The key in a file; of several processes that find none, one alone makes it."""
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        with open(_made(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), "w") as file:
            file.write(os.urandom(32).hex())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return path.read_bytes().strip()


def make(config: Config, world: World) -> ITokenStore:
    """Build the store from its section."""
    return SqliteStore(config.path, config.synchronous, config.busy_timeout, world)
