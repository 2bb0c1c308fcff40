"""`type: sqlite`: API tokens in a SQLite database file on this machine."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep  # noqa: TID251 - blocks only the store's own thread
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
from authotron.model.policy_document import PolicyDocument
from authotron.model.token import (
    CHANGEABLE,
    COLUMNS,
    Revoked,
    Token,
    mark_of,
)
from authotron.net.world import OwnThread, World
from authotron.plugin.interfaces import (
    IBacksUp,
    IChecksPepper,
    IKeepsPepper,
    IKeepsPolicies,
    IKeepsRecords,
    ITokenStore,
    TokenQuery,
)
from authotron.plugin.records_on_demand import RecordKeeper, RecordsOnDemand
from authotron.plugin.token_rows import (
    MOST_REVOKED,
    MOST_REVOKED_OF_OWNER,
    REVOKED_FOR,
    remembered_until,
    tokens_of,
)
from authotron.stores import sqlite_backup
from authotron.stores.sqlite_statements import (
    ADD,
    ADD_PEPPER_CHECK,
    ADD_POLICIES,
    IS_REPLACED,
    IS_USED,
    MIGRATIONS,
    PURGE_REVOCATIONS,
    PURGE_REVOCATIONS_OF_OWNER,
    REPLACE_POLICIES,
    SELECT_TREE,
    SET_PEPPER_CHECK,
    WITH_TREE,
)
from authotron.stores.sqlite_transaction import transaction

T = TypeVar("T")

_PAUSE = 0.01
"""
Number of seconds between two attempts to switch a database to WAL that another process has locked.
"""


class Config(StoreConfig):
    """
    `type: sqlite`: API tokens in a SQLite database file; if no pepper is configured, one is created
    in a file beside the database.
    """

    makes_pepper: ClassVar[bool] = True

    type: Literal["sqlite"]
    path: DataPath = Field(
        description="the database file, which only the operating system user of authotron may read"
    )
    synchronous: Literal["full", "normal"] = Field(
        default="full",
        description="full: acknowledged changes survive a power failure; normal: they survive a "
        "crash of the process, but not a power failure",
    )
    busy_timeout: Seconds = Field(
        default=2, description="seconds to wait while another process writes to the database"
    )

    def warnings(self) -> tuple[str, ...]:
        """
        Warn that the folder of the database is missing, because authotron does not create the
        folder.
        """
        try:
            self.path.parent.stat()
        except FileNotFoundError:
            return (f"path: the folder {self.path.parent} does not exist",)
        except OSError:
            # The account of the gateway may see files that the account of this process cannot see.
            pass
        return ()


@implementer(IChecksPepper, IKeepsPepper, IKeepsPolicies, IKeepsRecords, IBacksUp)
@define(eq=False)
class SqliteStore(RecordsOnDemand):
    """
    Keeps API tokens in a SQLite database.

    All SQL statements run one after the other on one connection, in a thread that belongs to the
    store from C{open} to C{close}. One thread is enough, because SQLite allows only one writer at a
    time; the thread is not a shared one, because the shared threads may be busy with password
    hashes.
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
        self.pepper = await self._in_thread(self._open_database)

    def _make_keeper(self) -> RecordKeeper:
        from authotron.stores.sqlite_records import SqliteRecords  # noqa: PLC0415 - only needed for records

        return SqliteRecords(self._query, self._world.clock)

    async def close(self) -> None:
        await self._close_records()
        thread, self._thread = self._thread, None
        if thread is not None:
            closed = thread(self._close_database)
            thread.stop()
            await closed

    def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    async def check_reachable(self) -> None:
        """
        Begin a writing transaction and roll it back, to find out whether the database can be
        written; this fails on a read-only disk.
        """

        def check(database: sqlite3.Connection) -> None:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")

        await self._query(check)

    @property
    def pepper_file(self) -> str:
        return str(self._beside(".pepper"))

    async def create_pepper(self) -> None:
        self.pepper = await self._query(lambda _: _read_or_create_pepper(self._beside(".pepper")))

    async def pepper_check(self) -> str | None:
        return await self._query(sqlite_backup.pepper_check)

    async def set_pepper_check(self, value: str, earlier: str | None) -> None:
        values = {"value": value, "earlier": earlier}
        statement = ADD_PEPPER_CHECK if earlier is None else SET_PEPPER_CHECK
        await self._query(lambda database: database.execute(statement, values))

    async def policy_state(self) -> str | None:
        found = await self._policies("state")
        return None if found is None else str(found[0])

    async def policies(self) -> PolicyDocument | None:
        found = await self._policies("state, content")
        return None if found is None else PolicyDocument(*found)

    async def _policies(self, columns: str) -> Any:
        text = f"SELECT {columns} FROM policies"  # noqa: S608 - the format inserts names of columns only, and no values
        return await self._query(lambda database: database.execute(text).fetchone())

    async def replace_policies(self, new: PolicyDocument, earlier: str | None) -> bool:
        values = {"state": new.state, "content": new.content, "earlier": earlier}
        statement = ADD_POLICIES if earlier is None else REPLACE_POLICIES
        return await self._query(lambda database: database.execute(statement, values).rowcount) > 0

    async def back_up(self, file: Path) -> None:
        copy = sqlite_backup.temporary(self._path)
        try:
            await self._query(lambda database: sqlite_backup.export(database, copy))
            sqlite_backup.take_out(copy, file)
        except OSError as error:
            raise Unavailable(f"cannot write {file}: {error.strerror}") from None
        finally:
            sqlite_backup.discard(copy)

    async def restore(
        self,
        file: Path,
        pepper: bytes | None,
        verify: Callable[[str | None], None],
        *,
        replace: bool,
    ) -> None:
        if self._thread is None:
            self._thread = self._world.own_thread()
        copy = sqlite_backup.temporary(self._path)
        try:
            sqlite_backup.take_in(file, copy)
            await self._in_thread(lambda: self._restore(copy, pepper, verify, replace=replace))
        except OSError as error:
            raise Unavailable(f"cannot read {file}: {error.strerror}") from None
        finally:
            sqlite_backup.discard(copy)

    def _restore(
        self,
        copy: Path,
        pepper: bytes | None,
        verify: Callable[[str | None], None],
        *,
        replace: bool,
    ) -> None:
        files.act_as_owner(self._path)
        stored = self._stored_pepper()
        if pepper is not None and stored not in (None, pepper):
            raise Unavailable(f"{self.pepper_file} exists and holds another pepper; move it away")
        self.pepper = pepper or stored
        with sqlite_backup.opened(copy) as source:
            verify(sqlite_backup.pepper_check(source))
            if pepper is not None:
                files.write_once(self._beside(".pepper"), pepper)
            self._open_database()
            assert self._database is not None
            [is_replaced] = self._database.execute(IS_REPLACED).fetchone()
            if is_replaced and not replace:
                raise Unavailable(
                    f"{self._path} has API tokens, policies or revocations, which only --replace "
                    "overwrites"
                )
            source.backup(self._database)
        self._prepare(self._database)

    async def add(self, token: Token, most: int | None = None) -> None:
        values = {**token.row(), "most": most}

        def add(database: sqlite3.Connection) -> int:
            try:
                return database.execute(ADD, values).rowcount
            except sqlite3.IntegrityError:
                raise TokenExists from None

        if not await self._query(add):
            raise TooMany

    async def get(self, id_: str) -> Token | None:
        found = await self._select("WHERE id = :id", {"id": id_})
        return found[0] if found else None

    async def list_tokens(self, wanted: TokenQuery) -> Sequence[Token]:
        values = {"after": wanted.after, "most": wanted.most}
        terms, begin = ["id > :after"], ""
        for column, value in (("realm", wanted.realm), ("username", wanted.username)):
            if value is not None:
                terms.append(f"{column} = :{column}")
                values[column] = value
        if wanted.below is not None:
            terms.append("id IN tree")
            values["id"], begin = wanted.below, WITH_TREE
        return await self._select(
            f"WHERE {' AND '.join(terms)} ORDER BY id LIMIT :most", values, begin
        )

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        assert changes.keys() <= CHANGEABLE
        setting = ", ".join(f"{column} = ?" for column in changes)
        return (
            await self._execute(
                f"UPDATE tokens SET {setting} WHERE id = ?",  # noqa: S608 - the format inserts names of columns only, and no values
                [*changes.values(), id_],
            )
            > 0
        )

    async def remove(self, id_: str, now: float) -> Sequence[str]:
        def remove(database: sqlite3.Connection) -> list[str]:
            with transaction(database):
                found = database.execute(SELECT_TREE, {"id": id_}).fetchall()
                removed = [row[0] for row in found]
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
                database.executemany(PURGE_REVOCATIONS_OF_OWNER, owners)
                database.executemany(
                    "DELETE FROM tokens WHERE id = ?", [[each] for each in removed]
                )
            return sorted(removed, key=lambda each: each != id_)

        return await self._query(remove)

    async def find_revoked(self, id_: str) -> Revoked | None:
        text = "SELECT id, realm, username, mark, until FROM revoked WHERE id = ?"
        row = await self._query(lambda database: database.execute(text, [id_]).fetchone())
        return None if row is None else Revoked(*row)

    async def delete_expired(self, now: float) -> int:
        def delete_expired(database: sqlite3.Connection) -> int:
            bounds = {"now": now, "usual": now + REVOKED_FOR, "most": MOST_REVOKED}
            database.execute(PURGE_REVOCATIONS, bounds)
            deleted = database.execute("DELETE FROM tokens WHERE expires <= ?", [now]).rowcount
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return deleted

        await self._delete_expired_records(now)
        return await self._query(delete_expired)

    async def _select(self, where: str, values: Mapping[str, Any], begin: str = "") -> list[Token]:
        text = f"{begin} SELECT {', '.join(COLUMNS)} FROM tokens {where}"  # noqa: S608 - the format inserts names of columns only, and no values
        rows = await self._query(lambda database: database.execute(text, values).fetchall())
        found = (dict(zip(COLUMNS, row, strict=True)) for row in rows)
        return await tokens_of(found, self._world.clock)

    async def _execute(self, text: str, values: Iterable[Any]) -> int:
        return await self._query(lambda database: database.execute(text, list(values)).rowcount)

    async def _query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def query() -> T:
            if self._database is None:
                raise Unavailable("the SQLite database is not open")
            return work(self._database)

        return await self._in_thread(query)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            raise Unavailable("the SQLite database is not open")
        try:
            return await self._thread(work)
        except sqlite3.Error as error:
            raise Unavailable(
                f"SQLite database {self._path} failed: {type(error).__name__}: {error}"
            ) from None
        except OSError as error:
            raise Unavailable(f"cannot access {self._path}: {error.strerror}") from None

    def _open_database(self) -> bytes | None:
        """
        Open the database in the thread of the store, and return the pepper.

        A pepper is created only for a database without API tokens, because existing API tokens were
        hashed with another pepper.

        If authotron runs as root, the thread of the store takes on the rights of the owner of the
        database folder, so that SQLite creates all files with this owner.
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
        [is_used] = self._database.execute(IS_USED).fetchone()
        return self._stored_pepper() if is_used else _read_or_create_pepper(pepper)

    def _stored_pepper(self) -> bytes | None:
        try:
            return files.read_small(self._beside(".pepper")).strip()
        except FileNotFoundError:
            return None

    def _beside(self, end: str) -> Path:
        return self._path.with_name(self._path.name + end)

    def _use_write_ahead_log(self, database: sqlite3.Connection) -> None:
        """
        Switch the SQLite database to a write-ahead log (WAL).

        SQLite does not wait for C{busy_timeout} if another process switches a new database to WAL
        at the same moment, as several workers do at their first start, so this method waits.
        """
        until = monotonic() + self._busy_timeout
        while True:
            try:
                database.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > until:
                    raise
                sleep(_PAUSE)
            else:
                return

    def _prepare(self, database: sqlite3.Connection) -> None:
        self._use_write_ahead_log(database)
        database.execute(f"PRAGMA synchronous = {self._synchronous}")
        database.execute("BEGIN IMMEDIATE")
        [version] = database.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            database.execute("ROLLBACK")
            newer = (
                f"{self._path} was written by a newer version of authotron; install that version "
                "or choose another file"
            )
            raise ConfigError([Problem("store.path", newer)])
        for migration in MIGRATIONS[version:]:
            for statement in filter(str.strip, migration.split(";")):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        database.execute("COMMIT")


def _read_or_create_pepper(path: Path) -> bytes:
    """
    Return the pepper in a file; if the file does not exist, exactly one of several processes
    creates it.
    """
    files.write_once(path, os.urandom(32).hex().encode())
    return files.read_small(path).strip()


def make(config: Config, world: World) -> ITokenStore:
    """Build the token store from the section C{store} of the configuration."""
    return SqliteStore(config.path, config.synchronous, config.busy_timeout, world)
