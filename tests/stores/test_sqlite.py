"""The SQLite store."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from authotron.config import section
from authotron.config.sources import Sources
from authotron.model.errors import ConfigError, TooMany, Unavailable
from authotron.model.token import COLUMNS, counts_towards_limit
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.stores import sqlite, sqlite_statements
from authotron.testing.contracts import StoreContract, make_token
from authotron.testing.worlds import NOW, world


def store_in(folder: Path, **over: object) -> ITokenStore:
    given = {"type": "sqlite", "path": "tokens.db", **over}
    return sqlite.make(section.read(sqlite.Config, given, sources=Sources(folder)), world())


def fresh(path: str) -> Path:
    """Return a new, empty folder."""
    folder = Path(path)
    folder.mkdir()
    return folder


class SqliteContractTests(StoreContract):
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

    async def opened(self) -> ITokenStore:
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

    async def failed(self, work: object) -> object:
        return await Deferred.fromCoroutine(work).addErrback(lambda failure: failure.value)  # type: ignore[arg-type] # any coroutine


del StoreContract
