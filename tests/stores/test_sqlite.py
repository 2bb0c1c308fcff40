"""The SQLite store."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from authotron.config import section
from authotron.config.sources import Sources
from authotron.model.errors import ConfigError, Problem, TooMany, Unavailable
from authotron.model.token import COLUMNS, counts_towards_limit
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.stores import sqlite, sqlite_statements
from authotron.testing.contracts import PolicyStoreContract, StoreContract, make_token
from authotron.testing.record_contract import RecordStoreContract, make_record
from authotron.testing.worlds import NOW, clock_at, world


def store_in(folder: Path, clock: Clock | None = None, **over: object) -> ITokenStore:
    given = {"type": "sqlite", "path": "tokens.db", **over}
    return sqlite.make(section.read(sqlite.Config, given, sources=Sources(folder)), world(clock))


def fresh(path: str) -> Path:
    """Return a new, empty folder."""
    folder = Path(path)
    folder.mkdir()
    return folder


class SqliteContractTests(StoreContract, PolicyStoreContract, RecordStoreContract):
    """The SQLite store fulfils the contract of stores."""

    async def make(self) -> ITokenStore:
        store = store_in(fresh(self.mktemp()))
        await store.open()
        return store


class SqliteTests(TestCase):
    """Files, versions and failures of the SQLite store."""

    def setUp(self) -> None:
        self.folder = fresh(self.mktemp())
        self.file = self.folder / "tokens.db"

    async def opened(self) -> Any:
        store = store_in(self.folder)
        await store.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))
        return store

    async def test_files_are_private(self) -> None:
        """
        Other accounts cannot read the database and the pepper; each database has its own
        pepper.
        """
        store = await self.opened()
        pepper = self.folder / "tokens.db.pepper"
        self.assertEqual([path.stat().st_mode & 0o777 for path in (self.file, pepper)], [0o600] * 2)
        self.assertEqual(store.pepper, pepper.read_bytes())
        another = store_in(fresh(self.mktemp()))
        await another.open()
        self.assertNotEqual(store.pepper, another.pepper)
        await another.close()

    async def test_two_processes_share_a_file(self) -> None:
        """Two processes with the same file see the same tokens and have the same pepper."""
        one, other, kept = await self.opened(), await self.opened(), make_token()
        await one.add(kept)
        self.assertEqual(await other.get(kept.id), kept)
        self.assertTrue(await other.remove(kept.id, NOW))
        self.assertIsNone(await one.get(kept.id))
        self.assertEqual(one.pepper, other.pepper)

    def contend(self, refusals: int) -> list[float]:
        """
        Let SQLite refuse so often to switch to WAL, as it does while another process switches a new
        database to WAL; return the list of the store's pauses.
        """
        pauses: list[float] = []

        class Contended(sqlite3.Connection):
            def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
                if text.startswith("PRAGMA journal_mode") and len(pauses) < refusals:
                    locked = sqlite3.OperationalError("database is locked")
                    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
                    raise locked
                return super().execute(text, *values)

        self.patch(sqlite, "sleep", pauses.append)
        self.patch(sqlite3, "connect", partial(sqlite3.connect, factory=Contended))
        return pauses

    async def test_two_processes_open_a_new_file_at_once(self) -> None:
        """The store waits while another process switches the new database to WAL."""
        pauses = self.contend(3)
        await self.opened()
        self.assertEqual(len(pauses), 3)

    async def test_locked_for_long(self) -> None:
        """If the other process does not finish within C{busy_timeout}, the store is unavailable."""
        self.contend(10**9)
        store = store_in(self.folder, busy_timeout=0.01)
        self.assertIsInstance(await self.failed(store.open()), Unavailable)
        await store.close()

    async def test_tokens_survive_a_restart(self) -> None:
        """Tokens are still stored after the process has ended."""
        first, kept = store_in(self.folder), make_token()
        await first.open()
        await first.add(kept)
        await first.close()
        self.assertEqual(await (await self.opened()).get(kept.id), kept)

    async def test_closed_store_is_unavailable(self) -> None:
        """A store that is not open is unavailable."""
        store = store_in(self.folder)
        for work in (
            store.get(""),
            store.add(make_token()),
            store.remove("", NOW),
            store.check_reachable(),
        ):
            self.assertIsInstance(await self.failed(work), Unavailable)

    async def test_full_disk_is_an_outage(self) -> None:
        """
        A full disk is an outage; acknowledged tokens stay, and adding works again once
        there is space.
        """
        store: Any = await self.opened()
        store._database.execute("PRAGMA max_page_count = 12")
        kept = []
        while not isinstance(await self.failed(store.add(each := make_token())), Unavailable):
            kept.append(each)
        self.assertEqual([await store.get(each.id) for each in kept], kept)
        self.assertIsNone(await store.get(each.id))
        store._database.execute("PRAGMA max_page_count = 1000")
        await store.add(each)
        self.assertEqual(await store.get(each.id), each)

    async def test_migration_from_the_first_version_T86a(self) -> None:
        """A file of the first version is migrated: its tokens stay, and have no parent."""
        database = sqlite3.connect(self.file)
        for statement in sqlite_statements.MIGRATIONS[0].split(";"):
            database.execute(statement)
        kept = [make_token(age=9), evolve(make_token(age=8), provider="imported:acl-proxy")]
        columns = COLUMNS[:-2]
        for each in kept:
            values = [each.row()[column] for column in columns]
            database.execute(f"INSERT INTO tokens VALUES ({', '.join('?' * len(columns))})", values)
        database.execute("PRAGMA user_version = 1")
        database.commit()
        database.close()
        store = await self.opened()
        old, copied = await store.list_tokens(TokenQuery())
        self.assertEqual((old, copied.id), (kept[0], kept[1].id))
        self.assertEqual(
            (counts_towards_limit(old.row()), counts_towards_limit(copied.row())), (True, False)
        )
        self.assertIsInstance(await self.failed(store.add(make_token(), 1)), TooMany)
        await store.add(make_token(lineage=(old.id,)), 2)
        self.assertEqual(len(await store.remove(old.id, NOW)), 2)

    async def test_newer_version_is_refused(self) -> None:
        """A file of a newer version is refused, and not changed."""
        database = sqlite3.connect(self.file)
        database.execute("PRAGMA user_version = 99")
        database.close()
        self.assertIsInstance(await self.failed(store_in(self.folder).open()), ConfigError)

    async def test_other_file_is_an_outage(self) -> None:
        """A file that is not a database is an outage, and is not changed."""
        self.file.write_text("dear diary" * 1000)
        self.assertIsInstance(await self.failed(store_in(self.folder).open()), Unavailable)
        self.assertEqual(self.file.read_text(), "dear diary" * 1000)

    async def test_missing_folder_is_an_outage(self) -> None:
        """A missing folder is an outage."""
        nowhere = store_in(self.folder, path="nowhere/tokens.db")
        self.assertIsInstance(await self.failed(nowhere.open()), Unavailable)

    async def test_pepper_is_not_created_anew_Q_PEPPER(self) -> None:
        """A missing pepper is created only for a database that never had API tokens."""
        store, pepper = await self.opened(), self.folder / "tokens.db.pepper"
        pepper.unlink()
        self.assertIsNotNone((await self.opened()).pepper)
        await store.add(make_token())
        pepper.unlink()
        self.assertIsNone((await self.opened()).pepper)
        self.assertFalse(pepper.exists())

    async def test_backup_Q_BACKUP(self) -> None:
        """A backup of an open store has all tokens, is private, and replaces no file."""
        store: Any = await self.opened()
        kept = [make_token(age=age) for age in range(20)]
        for each in kept:
            await store.add(each)
        copy = self.folder / "copy.db"
        await store.back_up(copy)
        self.assertEqual(copy.stat().st_mode & 0o777, 0o600)
        database = sqlite3.connect(copy)
        self.addCleanup(database.close)
        [found] = database.execute("SELECT count(*) FROM tokens").fetchone()
        self.assertEqual(found, len(kept))
        self.assertIn("File exists", str(await self.failed(store.back_up(copy))))
        self.assertEqual(len([*self.folder.glob("tokens.db.*")]), 1)  # the pepper

    async def restored(self, copy: Path, pepper: bytes | None, **over: Any) -> Any:
        """Restore a backup into a fresh folder; return the store, or why that failed."""
        store: Any = store_in(fresh(self.mktemp()))
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))
        arguments = {"verify": lambda _: None, "replace": False, **over}
        return await self.failed(store.restore(copy, pepper, **arguments)) or store

    async def test_restore_Q_BACKUP(self) -> None:
        """A backup is restored with its pepper, and keeps the check value."""
        store: Any = await self.opened()
        kept, revoked, copy = make_token(), make_token(age=1), self.folder / "copy.db"
        for each in (kept, revoked):
            await store.add(each)
        await store.remove(revoked.id, NOW)
        await store.set_pepper_check("value", None)
        await store.back_up(copy)
        checked: list[str | None] = []
        other = await self.restored(copy, store.pepper, verify=checked.append)
        self.assertEqual(checked, ["value"])
        self.assertEqual(await other.get(kept.id), kept)
        self.assertIsNotNone(await other.find_revoked(revoked.id))
        self.assertEqual((other.pepper, await other.pepper_check()), (store.pepper, "value"))

    async def test_restore_of_the_first_version_Q_BACKUP(self) -> None:
        """A backup that an earlier version wrote is migrated."""
        copy = self.folder / "copy.db"
        database = sqlite3.connect(copy)
        for statement in sqlite_statements.MIGRATIONS[0].split(";"):
            database.execute(statement)
        database.execute("PRAGMA user_version = 1")
        database.close()
        other = await self.restored(copy, None)
        await other.add(make_token())
        self.assertIsNone(await other.pepper_check())

    async def test_restore_that_would_lose_something_Q_BACKUP(self) -> None:
        """Restoring replaces neither API tokens, unless that is asked for, nor a pepper."""
        store: Any = await self.opened()
        await store.add(make_token())
        copy = self.folder / "copy.db"
        await store.back_up(copy)
        latest = make_token()
        await store.add(latest)

        def restore(pepper: bytes | None, *, replace: bool = False) -> Any:
            return self.failed(store.restore(copy, pepper, lambda _: None, replace=replace))

        self.assertIn("has API tokens", str(await restore(None)))
        self.assertIn("another pepper", str(await restore(b"other" * 9, replace=True)))
        self.assertEqual(await store.get(latest.id), latest)
        self.assertIsNone(await restore(None, replace=True))
        self.assertIsNone(await store.get(latest.id))

    async def test_restore_of_other_files_Q_BACKUP(self) -> None:
        """A file that is damaged, newer, no backup or for another pepper changes nothing."""
        store: Any = await self.opened()
        await store.add(make_token())
        good, other, newer, damaged = (self.folder / name for name in "abcd")
        await store.back_up(good)
        other.write_text("dear diary" * 1000)
        await store.back_up(newer)
        database = sqlite3.connect(newer)
        database.execute("PRAGMA user_version = 99")
        database.close()
        damaged.write_bytes(good.read_bytes()[:-4096])

        def refuse(_: str | None) -> None:
            raise ConfigError([Problem("store.pepper", "is another one")])

        for copy, over, words in (
            (other, {}, "damaged, or not a backup"),
            (newer, {}, "newer version"),
            (damaged, {}, "damaged"),
            (self.folder / "missing", {}, "No such file"),
            (good, {"verify": refuse}, "is another one"),
        ):
            found = await self.restored(copy, store.pepper, **over)
            self.assertIn(words, str(found))

    async def test_two_processes_share_records_R_FEED(self) -> None:
        """A process notices within 0.25 s that another process has changed a record."""
        clock = clock_at(NOW)
        one, other = await self.opened(), cast(Any, store_in(self.folder, clock))
        told: list[None] = []
        other.on_change(lambda: told.append(None))
        await other.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(other.close()))
        clock.advance(0.25)
        for change in (one.add_record(make_record(), NOW), one.remove_record("revocation", "one")):
            told.clear()
            self.assertTrue(await change)
            clock.advance(0.25)
            self.assertEqual(len(told), 1)
            clock.advance(0.25)
            self.assertEqual(len(told), 1)

    async def test_restored_records_R_FEED(self) -> None:
        """
        After a backup is restored, the cursor of a lost change is unknown, even if as many changes
        were made since.
        """
        store, copy = await self.opened(), self.folder / "copy.db"
        kept, lost, new = (make_record(each) for each in ("kept", "lost", "new"))
        await store.add_record(kept, NOW)
        early = (await store.changes(None)).cursor
        await store.back_up(copy)
        await store.add_record(lost, NOW)
        late = (await store.changes(None)).cursor
        self.assertIn("policies or revocations", str(await self.restore_here(store, copy)))
        self.assertIsNone(await self.restore_here(store, copy, replace=True))
        await store.add_record(new, NOW)
        found = await store.changes(late)
        self.assertEqual(({*found.records}, found.is_complete), ({new, kept}, True))
        found = await store.changes(early)
        self.assertEqual((found.records, found.is_complete), ((new,), False))

    def restore_here(self, store: Any, copy: Path, *, replace: bool = False) -> Any:
        return self.failed(store.restore(copy, None, lambda _: None, replace=replace))

    async def test_checkpoint_Q_BACKUP(self) -> None:
        """Tidying up moves changes from the write-ahead log into the database file."""
        store = await self.opened()
        await store.add(make_token())
        await store.delete_expired(NOW)
        alone = self.folder / "alone.db"
        alone.write_bytes(self.file.read_bytes())
        database = sqlite3.connect(alone)
        self.addCleanup(database.close)
        self.assertEqual(database.execute("SELECT count(*) FROM tokens").fetchone(), (1,))

    async def failed(self, work: object) -> object:
        return await Deferred.fromCoroutine(work).addErrback(lambda failure: failure.value)  # type: ignore[arg-type] # any coroutine


del PolicyStoreContract, RecordStoreContract, StoreContract
