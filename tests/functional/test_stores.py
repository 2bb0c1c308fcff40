"""The token stores with real databases."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import TestCase
from txmongo.connection import ConnectionPool

from authotron.concurrency.racing import with_timeout
from authotron.config import plugins
from authotron.config.section import read
from authotron.model.errors import (
    ConfigError,
    TimedOut,
    TooMany,
    Unavailable,
)
from authotron.model.token import Token
from authotron.net.endpoints import connector
from authotron.net.world import World
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.stores import redis
from authotron.testing.contracts import PolicyStoreContract, StoreContract, make_token
from authotron.testing.record_contract import RecordStoreContract
from authotron.testing.worlds import NOW
from tests.functional.databases import Database, shared
from tests.waiting import TEST_TIMEOUT, eventually

CLOCK: Any = reactor
connect = connector(CLOCK)
PATIENCE = 5.0

timeout = TEST_TIMEOUT


def store_of(section: dict[str, Any], **over: Any) -> ITokenStore:
    """Return the store of a configuration, not opened yet."""
    given = {**section, **over}
    module = plugins.load("stores", given["type"], "store")
    made: ITokenStore = module.make(
        read(module.Config, given), World(CLOCK, deferToThread, connect=connect)
    )
    return made


async def outcome(work: Coroutine[Any, Any, Any]) -> Any:
    """Wait for a result or an error, within a time limit."""
    timed = Deferred.fromCoroutine(with_timeout(CLOCK, PATIENCE, work))
    return await timed.addErrback(lambda failure: failure.value)


def closed(store: ITokenStore) -> Deferred[None]:
    return Deferred.fromCoroutine(store.close())


async def reachable(store: ITokenStore) -> None:
    """Wait until the store works again."""
    await eventually(lambda: outcome(store.check_reachable()), "reachable again", wanted=is_none)


def is_none(found: object) -> bool:
    """Return whether an L{outcome} is neither a value nor an error."""
    return found is None


class ReactorContract(RecordStoreContract):
    """The contract of stores that keep records, while the reactor runs."""

    async def happens(self, condition: Callable[[], bool]) -> None:
        await eventually(condition, "happened")


class RedisContractTests(ReactorContract, StoreContract, PolicyStoreContract):
    """The Redis store fulfils the contract of stores."""

    async def make(self) -> ITokenStore:
        store = store_of(shared("redis").section)
        await store.open()
        return store

    async def test_earlier_T86a(self) -> None:
        """Tokens that an earlier version stored have no parent, and imported ones do not count."""
        section = shared("redis").section
        store = store_of(section)
        self.addCleanup(closed, store)
        await store.open()
        kept, imported = earlier()
        administrator = redis.client(read(redis.Config, section), WORLD)
        self.addCleanup(lambda: Deferred.fromCoroutine(administrator.stop()))
        for each in (kept, imported):
            await store.add(each)
            await administrator.ask(
                "HDEL", f"{section['prefix']}token:{each.id}", "parent", "origin"
            )
        await counted_as_earlier(self, store, kept)


WORLD = World(CLOCK, deferToThread, connect=connect)


def earlier() -> tuple[Token, Token]:
    """Return two tokens of one owner, of which the second was imported."""
    return make_token(age=9), evolve(make_token(age=8), provider="imported:acl-proxy")


async def counted_as_earlier(test: TestCase, store: ITokenStore, kept: Token) -> None:
    """Check that one of the two tokens counts, and can be a parent."""
    test.assertEqual(await store.get(kept.id), kept)
    test.assertIsInstance(await outcome(store.add(make_token(), 1)), TooMany)
    await store.add(make_token(lineage=(kept.id,)), 2)
    test.assertEqual(len(await store.remove(kept.id, NOW)), 2)
    test.assertEqual(len(await store.list_tokens(TokenQuery())), 1)


class MongoContractTests(ReactorContract, StoreContract, PolicyStoreContract):
    """The MongoDB store fulfils the contract of stores."""

    async def make(self) -> ITokenStore:
        section = shared("mongo").section
        given = os.environ.get("AUTHOTRON_TEST_MONGO")
        store = store_of({**section, **({"uri": given} if given else {})})
        await store.open()
        return store

    async def test_earlier_T86a(self) -> None:
        """Tokens that an earlier version stored have no parent, and imported ones do not count."""
        section = shared("mongo").section
        store = store_of(section)
        self.addCleanup(closed, store)
        await store.open()
        pool = ConnectionPool(section["uri"])
        self.addCleanup(pool.disconnect)
        kept, imported = earlier()
        for each in (kept, imported):
            await store.add(each)
            without = {"$unset": {"parent": 1, "origin": 1, "lineage": 1}}
            tokens = pool[section["database"]]["authotron_tokens"]
            await tokens.update_one({"_id": each.id}, without)
        await counted_as_earlier(self, store, kept)


class MongoJavaContractTests(ReactorContract, StoreContract, PolicyStoreContract):
    """The contract with another server of the MongoDB protocol, whose updates are atomic."""

    async def make(self) -> ITokenStore:
        store = store_of(shared("mongo-java").section)
        await store.open()
        return store


class Faults:
    """Failures of a database server, and what the store makes of them."""

    kind: str

    def database(self: Any, **environ: str) -> Database:
        database = Database(self.kind, Path(self.mktemp()), environ)
        self.addCleanup(database.stop)
        return database

    async def opened(self: Any, section: dict[str, Any], **over: Any) -> ITokenStore:
        store = store_of(section, **over)
        self.addCleanup(closed, store)
        await store.open()
        return store

    async def test_stopped(self: Any) -> None:
        """While the server is stopped the store is unavailable; later it has the same tokens."""
        database = self.database().start()
        store, kept = await self.opened(database.section), make_token()
        await store.add(kept)
        database.stop()
        self.assertIsInstance(await outcome(store.get(kept.id)), Unavailable)
        self.assertIsInstance(await outcome(store.add(make_token())), Unavailable)
        database.start()
        await reachable(store)
        self.assertEqual(await store.get(kept.id), kept)

    async def test_absent_at_first(self: Any) -> None:
        """A store whose server starts later can be opened by another attempt."""
        database = self.database()
        store = store_of(database.section)
        self.addCleanup(closed, store)
        self.assertIsInstance(await outcome(store.open()), Unavailable)
        database.start()
        await eventually(lambda: outcome(store.open()), "opened", wanted=is_none)
        kept = make_token()
        await store.add(kept)
        self.assertEqual(await store.get(kept.id), kept)

    async def test_frozen(self: Any) -> None:
        """A server that does not answer is given up in time, and used again when it answers."""
        database = self.database().start()
        store, kept = await self.opened(database.section), make_token()
        await store.add(kept)
        database.freeze()
        self.assertIsInstance(await outcome(store.get(kept.id)), TimedOut)
        database.thaw()
        await reachable(store)
        self.assertEqual(await store.get(kept.id), kept)


class MoreFaults(Faults):
    """Failures of a server that persists what it acknowledges, and offers TLS."""

    async def test_killed(self: Any) -> None:
        """Acknowledged tokens survive a SIGKILL of the server."""
        database = self.database().start()
        store = await self.opened(database.section)
        kept = [make_token(age=age) for age in range(20)]
        for each in kept:
            await store.add(each)
        database.tell(signal.SIGKILL)
        database.stop()
        database.start()
        await reachable(store)
        self.assertEqual([await store.get(each.id) for each in kept], kept)

    async def test_tls(self: Any) -> None:
        """With TLS the server must have a trusted certificate."""
        database = self.database().start()
        section = self.encrypted(database, "localhost")
        trusting = await self.opened(section, tls=True, tls_ca_file=database.authorities)
        await trusting.check_reachable()
        doubtful = store_of(section, tls=True)
        self.addCleanup(closed, doubtful)
        self.assertIsInstance(await outcome(doubtful.open()), Unavailable)


class RedisFaultTests(MoreFaults, TestCase):
    """Failures of Redis."""

    kind = "redis"

    def encrypted(self, database: Database, host: str) -> dict[str, Any]:
        return {**database.section, "host": host, "port": database.port + 1}

    async def test_password(self) -> None:
        """The right password is accepted; a wrong one is an outage, and is never printed."""
        database = self.database(REDIS_PASSWORD="canary-one").start()
        await self.opened(database.section, password="canary-one")
        wrong = store_of(database.section, password="canary-two")
        self.addCleanup(closed, wrong)
        error = await outcome(wrong.open())
        self.assertIsInstance(error, Unavailable)
        self.assertIn("WRONGPASS", str(error))
        self.assertNotIn("canary", f"{error} {wrong!r}")

    async def test_read_only(self) -> None:
        """A read-only server acknowledges no change, and its tokens can be read."""
        database = self.database().start()
        store, kept, lost = await self.opened(database.section), make_token(), make_token()
        await store.add(kept)
        config = read(redis.Config, database.section)
        administrator = redis.client(config, World(CLOCK, deferToThread, connect=connect))
        self.addCleanup(lambda: Deferred.fromCoroutine(administrator.stop()))
        await administrator.ask("REPLICAOF", "127.0.0.1", 1)
        self.assertIsInstance(await outcome(store.add(lost)), Unavailable)
        self.assertIsInstance(await outcome(store.remove(kept.id, NOW)), Unavailable)
        self.assertEqual(await store.get(kept.id), kept)
        await administrator.ask("REPLICAOF", "NO", "ONE")
        self.assertIsNone(await store.get(lost.id))
        self.assertTrue(await store.remove(kept.id, NOW))


class MongoJavaFaultTests(Faults, TestCase):
    """Failures of the other server of the MongoDB protocol."""

    kind = "mongo-java"


class SqliteDiskTests(TestCase):
    """SQLite on a disk that is full, or read-only."""

    def setUp(self) -> None:
        self.disk = Path(self.mktemp()).absolute()
        self.disk.mkdir()
        self.mount("-t", "tmpfs", "-o", "size=400k", "tmpfs")
        self.addCleanup(self.as_root, "umount", "--lazy", str(self.disk))

    def as_root(self, *words: str) -> None:
        first = [] if os.geteuid() == 0 else ["sudo", "-n"]
        subprocess.run([*first, *words], check=True, capture_output=True)

    def mount(self, *words: str) -> None:
        self.as_root("mount", *words, str(self.disk))

    async def opened(self) -> ITokenStore:
        store = store_of({"type": "sqlite", "path": str(self.disk / "tokens.db")})
        self.addCleanup(closed, store)
        await store.open()
        return store

    async def test_full(self) -> None:
        """
        On a full disk only acknowledged tokens are stored; with more space adding works
        again.
        """
        store, acknowledged = await self.opened(), []
        for place in range(10_000):
            last = make_token(name="x" * 200, age=place)
            error = await outcome(store.add(last))
            if error is not None:
                break
            acknowledged.append(last)
        self.assertIsInstance(error, Unavailable)
        self.assertGreater(len(acknowledged), 10)
        self.mount("-o", "remount,size=4m")
        self.assertIsNone(await store.get(last.id))
        self.assertEqual([await store.get(each.id) for each in acknowledged], acknowledged)
        await store.add(last)
        await store.close()
        again = await self.opened()
        self.assertEqual(await again.get(last.id), last)

    async def test_read_only(self) -> None:
        """A read-only disk acknowledges no change, and its tokens can be read."""
        store, kept, lost = await self.opened(), make_token(), make_token()
        await store.add(kept)
        await store.close()
        self.mount("-o", "remount,ro")
        store = store_of({"type": "sqlite", "path": str(self.disk / "tokens.db")})
        self.addCleanup(closed, store)
        self.assertIsInstance(await outcome(store.open()), Unavailable)
        self.assertIsInstance(await outcome(store.add(lost)), Unavailable)
        self.mount("-o", "remount,rw")
        await store.open()
        self.assertEqual(await store.get(kept.id), kept)
        self.assertIsNone(await store.get(lost.id))


class MongoFaultTests(MoreFaults, TestCase):
    """Failures of MongoDB."""

    kind = "mongo"

    def encrypted(self, database: Database, host: str) -> dict[str, Any]:
        return {**database.section, "uri": f"mongodb://{host}:{database.port + 1}"}

    async def test_password(self) -> None:
        """The right password is accepted; a wrong one is an outage, and is never printed."""
        login = {"MONGO_USER": "me", "MONGO_PASSWORD": "canary-one", "MONGO_DATABASE": "mine"}
        database = self.database(**login).start()
        for password, expected in (("canary-one", None), ("canary-two", Unavailable)):
            uri = f"mongodb://me:{password}@127.0.0.1:{database.port}/mine"
            store = store_of({"type": "mongo", "uri": uri, "database": "mine"})
            self.addCleanup(closed, store)
            error = await outcome(store.open())
            self.assertEqual(error and type(error), expected)
            self.assertNotIn("canary", f"{error} {store!r}")

    async def test_causes_M_SAY(self) -> None:
        """The log names the reason why a store cannot be opened, without a fatal error."""
        login = {"MONGO_USER": "me", "MONGO_PASSWORD": "canary", "MONGO_DATABASE": "mine"}
        database = self.database(**login).start()
        at, encrypted = f"127.0.0.1:{database.port}/mine", f"127.0.0.1:{database.port + 1}/mine"
        for address, tls, words in (
            (f"me:wrong@{at}", False, "wrong user name or password"),
            (at, False, "the server wants a login"),
            (f"me:canary@{encrypted}", True, "certificate of an unknown issuer"),
            (f"me:canary@{at}?replicaSet=rs0", False, "not in the replica set"),
            ("me:canary@127.0.0.1:9/mine", False, "cannot be reached: connection refused"),
            ("me:canary@nowhere.invalid/mine", False, "cannot be reached: host name not found"),
            (f"me:canary@127.0.0.1:9,{at}", False, "None"),
        ):
            keys = {"uri": f"mongodb://{address}", "database": "mine", "tls": tls}
            store = store_of({"type": "mongo", **keys})
            self.addCleanup(closed, store)
            with capturedLogs() as events:
                error = await outcome(store.open())
            self.assertIn(words, str(error))
            self.assertNotIn("canary", str(error))
            self.assertEqual([e for e in events if e["log_level"] == LogLevel.critical], [])

    async def test_others_tokens(self) -> None:
        """A database with tokens of auth-o-tron is used with a warning; they are not changed."""
        section = shared("mongo").section
        pool = ConnectionPool(section["uri"])
        self.addCleanup(pool.disconnect)
        theirs = {"token": {"token_string": "0b0e8ab1-5b1c-4f0e-9d5e-0e6f0c3f7a11"}}
        await pool[section["database"]]["tokens"].insert_one(theirs)
        with capturedLogs() as events:
            store = await self.opened(section)
        self.assertEqual([e["event"] for e in events if "event" in e], ["store.foreign"])
        kept = make_token()
        await store.add(kept)
        self.assertEqual(await store.list_tokens(TokenQuery()), [kept])
        self.assertEqual(await pool[section["database"]]["tokens"].count_documents({}), 1)

    async def test_others_tokens_in_named_collection(self) -> None:
        """A named collection that holds other tokens is refused, and not changed."""
        section = {**shared("mongo").section, "tokens_collection": "mine"}
        pool = ConnectionPool(section["uri"])
        self.addCleanup(pool.disconnect)
        theirs = {"token": {"token_string": "0b0e8ab1-5b1c-4f0e-9d5e-0e6f0c3f7a11"}}
        await pool[section["database"]]["mine"].insert_one(theirs)
        store = store_of(section)
        self.addCleanup(closed, store)
        self.assertIsInstance(await outcome(store.open()), ConfigError)
        self.assertIsInstance(await outcome(store.add(make_token())), Unavailable)
        self.assertEqual(await pool[section["database"]]["mine"].count_documents({}), 1)

    async def test_collections_of_an_earlier_version(self) -> None:
        """API tokens that an earlier version stored in the collection C{tokens} are found there."""
        section = shared("mongo").section
        earlier = {**section, "tokens_collection": "tokens", "users_collection": "users"}
        kept = make_token()
        await (await self.opened(earlier)).add(kept)
        self.assertEqual(await (await self.opened(section)).get(kept.id), kept)

    async def test_collections_of_an_earlier_version_without_tokens(self) -> None:
        """The records of revoked API tokens of an earlier version are found, too."""
        section = shared("mongo").section
        earlier = {**section, "tokens_collection": "tokens", "users_collection": "users"}
        revoked, store = make_token(), await self.opened(earlier)
        await store.add(revoked)
        await store.remove(revoked.id, NOW)
        self.assertIsNotNone(await (await self.opened(section)).find_revoked(revoked.id))


del PolicyStoreContract, ReactorContract, RecordStoreContract, StoreContract
