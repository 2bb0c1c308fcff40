"""Tokens in a file."""

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
from authotron.model.token import COLUMNS, counts
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.stores import sqlite, sqlite_statements
from authotron.testing.contracts import StoreContract, make_token
from authotron.testing.worlds import NOW, world


def store_in(folder: Path, **over: object) -> ITokenStore:
    given = {"type": "sqlite", "path": "tokens.db", **over}
    return sqlite.make(section.read(sqlite.Config, given, sources=Sources(folder)), world())


def fresh(path: str) -> Path:
    """A folder with nothing in it."""
    folder = Path(path)
    folder.mkdir()
    return folder


class SqliteContractTests(StoreContract):
    """The store in a file is a store."""

    async def make(self) -> ITokenStore:
        store = store_in(fresh(self.mktemp()))
        await store.open()
        return store


class SqliteTests(TestCase):
    """What is special about it."""

    def setUp(self) -> None:
        self.folder = fresh(self.mktemp())
        self.file = self.folder / "tokens.db"

    async def opened(self) -> ITokenStore:
        store = store_in(self.folder)
        await store.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))
        return store

    async def test_only_for_us(self) -> None:
        """Nobody else can read the file, nor the pepper beside it, which is never the same."""
        store = await self.opened()
        pepper = self.folder / "tokens.db.pepper"
        self.assertEqual([path.stat().st_mode & 0o777 for path in (self.file, pepper)], [0o600] * 2)
        self.assertEqual(store.pepper, pepper.read_bytes())
        another = store_in(fresh(self.mktemp()))
        await another.open()
        self.assertNotEqual(store.pepper, another.pepper)
        await another.close()

    async def test_two_processes(self) -> None:
        """Two that have the file open see each other's tokens, and have one pepper."""
        one, other, kept = await self.opened(), await self.opened(), make_token()
        await one.add(kept)
        self.assertEqual(await other.get(kept.id), kept)
        self.assertTrue(await other.remove(kept.id, NOW))
        self.assertIsNone(await one.get(kept.id))
        self.assertEqual(one.pepper, other.pepper)

    async def test_reopened(self) -> None:
        """What was kept is there after the end of the process."""
        first, kept = store_in(self.folder), make_token()
        await first.open()
        await first.add(kept)
        await first.close()
        self.assertEqual(await (await self.opened()).get(kept.id), kept)

    async def test_closed(self) -> None:
        """While it is closed nobody can say anything."""
        store = store_in(self.folder)
        for work in (
            store.get(""),
            store.add(make_token()),
            store.remove("", NOW),
            store.check_reachable(),
        ):
            self.assertIsInstance(await self.failed(work), Unavailable)

    async def test_full(self) -> None:
        """Where no more fits it is an outage; what was acknowledged stays, and it goes on later."""
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

    async def test_earlier_T86a(self) -> None:
        """A file of the first version is taken over: its tokens have no parent, and stay."""
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
        old, copied = await store.listed(TokenQuery())
        self.assertEqual((old, copied.id), (kept[0], kept[1].id))
        self.assertEqual((counts(old.row()), counts(copied.row())), (True, False))
        self.assertIsInstance(await self.failed(store.add(make_token(), 1)), TooMany)
        await store.add(make_token(lineage=(old.id,)), 2)
        self.assertEqual(len(await store.remove(old.id, NOW)), 2)

    async def test_newer(self) -> None:
        """A file that a newer version has written is left alone."""
        database = sqlite3.connect(self.file)
        database.execute("PRAGMA user_version = 99")
        database.close()
        self.assertIsInstance(await self.failed(store_in(self.folder).open()), ConfigError)

    async def test_no_database(self) -> None:
        """A file that is something else is an outage, not a crash, and is left alone."""
        self.file.write_text("dear diary" * 1000)
        self.assertIsInstance(await self.failed(store_in(self.folder).open()), Unavailable)
        self.assertEqual(self.file.read_text(), "dear diary" * 1000)

    async def test_no_folder(self) -> None:
        """So is a folder that is not there."""
        nowhere = store_in(self.folder, path="nowhere/tokens.db")
        self.assertIsInstance(await self.failed(nowhere.open()), Unavailable)

    async def failed(self, work: object) -> object:
        return await Deferred.fromCoroutine(work).addErrback(lambda failure: failure.value)  # type: ignore[arg-type] # any coroutine


del StoreContract
