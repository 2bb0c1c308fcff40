"""Tokens kept in a file of this machine: nothing to install, nothing to run."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from attrs import define, field
from pydantic import Field
from zope.interface import implementer

from authotron.config import files
from authotron.config.plugins import StoreConfig
from authotron.config.section import DataPath, Seconds
from authotron.model.errors import (
    ConfigError,
    Problem,
    TokenExists,
    TooMany,
    Unavailable,
)
from authotron.model.token import (
    CHANGEABLE,
    COLUMNS,
    Revoked,
    Token,
    mark_of,
)
from authotron.net.world import OwnThread, World
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.plugin.token_rows import (
    MOST_REVOKED,
    MOST_REVOKED_OF_OWNER,
    REVOKED_FOR,
    remembered_until,
    tokens_of,
)

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
    """
    ALTER TABLE tokens ADD COLUMN parent TEXT NOT NULL DEFAULT '';
    ALTER TABLE tokens ADD COLUMN origin TEXT NOT NULL DEFAULT '';
    UPDATE tokens SET origin = 'import' WHERE instr(fixed, '"provider": "imported:');
    CREATE INDEX tokens_counted ON tokens (realm, username, origin, expires);
    CREATE INDEX tokens_by_parent ON tokens (parent) WHERE parent != '';
    CREATE TABLE revoked (
        id TEXT PRIMARY KEY,
        realm TEXT NOT NULL,
        username TEXT NOT NULL,
        mark TEXT NOT NULL,
        until REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX revoked_by_end ON revoked (until);
    CREATE INDEX revoked_of_owner ON revoked (realm, username, until);
    """,
)
"""Each brings a database from the version that is its place to the next."""

_ADD = f"""
INSERT INTO tokens ({", ".join(COLUMNS)})
SELECT {", ".join(f":{column}" for column in COLUMNS)} WHERE :most IS NULL OR :most > (
    SELECT count(*) FROM tokens
    WHERE realm = :realm AND username = :username AND origin IN ('', 'http')
    AND (expires IS NULL OR expires > :created)
)
"""  # noqa: S608 - our own names
_TREE = """
WITH RECURSIVE tree (id) AS (
    SELECT id FROM tokens WHERE id = :id
    UNION SELECT tokens.id FROM tokens JOIN tree ON tokens.parent = tree.id WHERE parent != ''
)
"""
_TREE_OF = f"""
{_TREE} SELECT id, realm, username, hashed, origin FROM tree JOIN tokens USING (id)
"""  # noqa: S608 - our own names
_FORGET_OF_OWNER = """
DELETE FROM revoked WHERE id IN (
    SELECT id FROM revoked WHERE realm = ? AND username = ? AND until <= ?
    ORDER BY until DESC LIMIT -1 OFFSET ?
)
"""
_FORGET_REVOKED = """
DELETE FROM revoked WHERE until <= :now OR id IN (
    SELECT id FROM revoked WHERE until <= :usual ORDER BY until DESC LIMIT -1 OFFSET :most
)
"""


class Config(StoreConfig):
    """`type: sqlite`: tokens in a file. A pepper is made beside it if none is configured."""

    makes_pepper: ClassVar[bool] = True

    type: Literal["sqlite"]
    path: DataPath = Field(description="the file of the database; only we may read it")
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

    One connection, one piece of work at a time, in a thread of its own: SQLite has one writer, and
    password hashes must not delay a token. Each store has its thread, from C{open} to C{close}.
    """

    _path: Path
    _synchronous: str
    _busy_timeout: float
    _world: World
    type: str = field(default="sqlite", init=False)
    pepper: bytes | None = field(default=None, init=False, repr=False)
    _database: sqlite3.Connection | None = field(default=None, init=False)
    _thread: OwnThread | None = field(default=None, init=False)

    async def open(self) -> None:
        if self._thread is None:
            self._thread = self._world.own_thread()
        self.pepper = await self._do(self._opened)

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            closed = thread(self._closed)
            thread.stop()
            await closed

    def _closed(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    async def reach(self) -> None:
        await self._ask(lambda database: database.execute("SELECT 1 FROM tokens LIMIT 1"))

    async def add(self, token: Token, most: int | None = None) -> None:
        values = {**token.row(), "most": most}

        def add(database: sqlite3.Connection) -> int:
            try:
                return database.execute(_ADD, values).rowcount
            except sqlite3.IntegrityError:
                raise TokenExists from None

        if not await self._ask(add):
            raise TooMany

    async def get(self, id_: str) -> Token | None:
        found = await self._select("WHERE id = :id", {"id": id_})
        return found[0] if found else None

    async def listed(self, wanted: TokenQuery) -> Sequence[Token]:
        values = {"after": wanted.after, "most": wanted.most}
        terms, begin = ["id > :after"], ""
        for column, value in (("realm", wanted.realm), ("username", wanted.username)):
            if value is not None:
                terms.append(f"{column} = :{column}")
                values[column] = value
        if wanted.below is not None:
            terms.append("id IN tree")
            values["id"], begin = wanted.below, _TREE
        return await self._select(
            f"WHERE {' AND '.join(terms)} ORDER BY id LIMIT :most", values, begin
        )

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

    async def remove(self, id_: str, now: float) -> Sequence[str]:
        def remove(database: sqlite3.Connection) -> list[str]:
            with _transaction(database):
                found = database.execute(_TREE_OF, {"id": id_}).fetchall()
                ended = [row[0] for row in found]
                database.executemany(
                    "INSERT OR REPLACE INTO revoked VALUES (?, ?, ?, ?, ?)",
                    [
                        (
                            *row[:3],
                            mark_of(row[3]),
                            remembered_until({"origin": row[4], "fixed": ""}, now),
                        )
                        for row in found
                    ],
                )
                usual = (now + REVOKED_FOR, MOST_REVOKED_OF_OWNER)
                owners = {(row[1], row[2], *usual) for row in found}
                database.executemany(_FORGET_OF_OWNER, owners)
                database.executemany("DELETE FROM tokens WHERE id = ?", [[each] for each in ended])
            return sorted(ended, key=lambda each: each != id_)

        return await self._ask(remove)

    async def revoked(self, id_: str) -> Revoked | None:
        text = "SELECT id, realm, username, mark, until FROM revoked WHERE id = ?"
        row = await self._ask(lambda database: database.execute(text, [id_]).fetchone())
        return None if row is None else Revoked(*row)

    async def delete_expired(self, now: float) -> int:
        def delete_expired(database: sqlite3.Connection) -> int:
            bounds = {"now": now, "usual": now + REVOKED_FOR, "most": MOST_REVOKED}
            database.execute(_FORGET_REVOKED, bounds)
            return database.execute("DELETE FROM tokens WHERE expires <= ?", [now]).rowcount

        return await self._ask(delete_expired)

    async def _select(self, where: str, values: Mapping[str, Any], begin: str = "") -> list[Token]:
        text = f"{begin} SELECT {', '.join(COLUMNS)} FROM tokens {where}"  # noqa: S608 - our own names
        rows = await self._ask(lambda database: database.execute(text, values).fetchall())
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
        if self._thread is None:
            raise Unavailable("the database is not open")
        try:
            return await self._thread(work)
        except sqlite3.Error as error:
            raise Unavailable(f"the database says {type(error).__name__}: {error}") from None
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from None

    def _opened(self) -> bytes:
        """
        In the thread of the store, which from here on has the rights of the owner of the folder.

        All that SQLite opens by name is opened here or later in this thread.
        """
        files.act_as_owner(self._path)
        pepper = self._beside(".pepper")
        beside = (self._beside(end) for end in ("-wal", "-shm", "-journal"))
        files.check_regular(self._path, pepper, *beside)
        if self._database is None:
            files.make_file(self._path)
            database = sqlite3.connect(
                self._path, self._busy_timeout, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(database)
            except BaseException:
                database.close()
                raise
            self._database = database
        return _kept_pepper(pepper)

    def _beside(self, end: str) -> Path:
        return self._path.with_name(self._path.name + end)

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


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of what is done within, or nothing."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _kept_pepper(path: Path) -> bytes:
    """The key in a file; of several processes that find none, one makes it."""
    files.write_once(path, os.urandom(32).hex().encode())
    return files.read_small(path).strip()


def make(config: Config, world: World) -> ITokenStore:
    """Build the store from its section."""
    return SqliteStore(config.path, config.synchronous, config.busy_timeout, world)
