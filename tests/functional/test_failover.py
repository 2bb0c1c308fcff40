"""The Redis store when the primary changes, with real servers."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

from attrs import define, evolve, field
from twisted.internet import reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyFactory
from twisted.trial.unittest import TestCase

from authotron.config.section import read
from authotron.model.errors import Unavailable
from authotron.model.token import Grant, Token
from authotron.net.redis import Redis
from authotron.plugin.interfaces import IChecksPepper, IKeepsRecords, ITokenStore, TokenQuery
from authotron.stores import redis
from authotron.testing.contracts import make_token
from authotron.testing.record_contract import make_record
from authotron.testing.worlds import NOW
from tests.functional.databases import Database
from tests.functional.test_stores import WORLD, closed, outcome, reachable, store_of
from tests.waiting import TEST_TIMEOUT, eventually

CLOCK: Any = reactor

CLIENTS = 8
"""Clients that add tokens at the same time."""

ENOUGH = 400
"""Tokens that are acknowledged before the primary changes, and after it."""

DOCS = Path(__file__).resolve().parents[2] / "docs" / "tokens.md"


@define(eq=False)
class Load:
    """
    Clients that add tokens without a pause, and what became of each token.

    @ivar failures: errors of changes that began and ended in a time without an outage.
    """

    store: ITokenStore
    acknowledged: list[Token] = field(factory=list, init=False)
    failures: list[Exception] = field(factory=list, init=False)
    _outages: int = field(default=0, init=False)
    _is_writable: bool = field(default=True, init=False)
    _is_over: bool = field(default=False, init=False)
    _clients: Any = field(default=None, init=False)

    def start(self) -> Load:
        clients = [Deferred.fromCoroutine(self._client(each)) for each in range(CLIENTS)]
        self._clients = gatherResults(clients)
        return self

    async def stop(self) -> None:
        self._is_over = True
        await self._clients

    def outage(self) -> None:
        """From now on no server accepts changes, or the store is not led to it."""
        self._is_writable = False
        self._outages += 1

    def recovered(self) -> None:
        """From now on the store is led to a server that accepts changes."""
        self._is_writable = True

    async def reaches(self, number: int) -> None:
        """Wait until so many more tokens are acknowledged."""
        wanted = len(self.acknowledged) + number
        await eventually(
            lambda: len(self.acknowledged), "acknowledged", wanted=lambda count: count >= wanted
        )

    async def _client(self, number: int) -> None:
        while not self._is_over:
            token, began = make_token(age=number), (self._is_writable, self._outages)
            error = await outcome(self.store.add(token))
            if error is None:
                self.acknowledged.append(token)
            elif began == (True, self._outages):
                self.failures.append(error)
            await pause(0.001)

    async def lost(self) -> int:
        """How many acknowledged tokens the store does not have."""
        found = [await self.store.get(each.id) for each in self.acknowledged]
        return sum(token is None for token in found)


def has_replica(role: Any) -> bool:
    """Return whether the answer to C{ROLE} is that of a primary with a replica."""
    return role[0] == b"master" and bool(role[2])


def pause(seconds: float) -> Deferred[None]:
    return deferLater(CLOCK, seconds, lambda: None)


class FailoverCase(TestCase):
    """A primary, a replica, and an address that leads to one of them."""

    timeout = TEST_TIMEOUT

    def server(self, *options: str, **environ: str) -> Database:
        environ["REDIS_OPTIONS"] = " ".join(options)
        database = Database("redis", Path(self.mktemp()), environ)
        self.addCleanup(database.stop)
        return database

    def administrator(self, database: Database, **keys: Any) -> Redis:
        section = {"type": "redis", "port": database.port, **keys}
        client = redis.client(read(redis.Config, section), WORLD)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.stop()))
        return client

    async def pair(self) -> None:
        """Start a primary and a replica that has caught up."""
        self.first = self.server().start()
        self.second = self.server(f"--replicaof 127.0.0.1 {self.first.port}").start()
        await self.in_step(self.administrator(self.first))

    async def in_step(self, primary: Redis) -> None:
        async def role() -> Any:
            return await primary.ask("ROLE")

        await eventually(role, "a primary with a replica", wanted=has_replica)

    def lead_to(self, database: Database) -> None:
        """Let new connections to the address lead to a server; old connections stay."""
        self.address.port = database.port

    def addressed(self) -> int:
        """Return the port of an address that leads to the primary, as a load balancer does."""
        self.address = ProxyFactory("127.0.0.1", self.first.port)
        self.address.noisy = False
        port: IListeningPort = CLOCK.listenTCP(0, self.address, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port  # type: ignore[attr-defined] # of TCP
        return number

    async def opened(self, **keys: Any) -> ITokenStore:
        store = store_of({"type": "redis", "prefix": "mine:", **keys})
        self.addCleanup(closed, store)
        await store.open()
        return store


class FailoverTests(FailoverCase):
    """The primary changes while clients add tokens."""

    async def test_coordinated_R_FAIL(self) -> None:
        """
        If the primary hands over to its replica (FAILOVER), no acknowledged token is lost, and
        the store goes on without a restart, although its old connection is still open.
        """
        await self.pair()
        store = await self.opened(port=self.addressed())
        load = Load(store).start()
        await load.reaches(ENOUGH)
        load.outage()
        old, new = self.administrator(self.first), self.administrator(self.second)
        await old.ask("FAILOVER", "TO", "127.0.0.1", self.second.port, "TIMEOUT", 5000)
        await self.in_step(new)
        self.assertIsInstance(await outcome(store.check_reachable()), Unavailable)
        self.lead_to(self.second)
        load.recovered()
        await load.reaches(ENOUGH)
        await load.stop()
        self.assertEqual(load.failures, [])
        self.assertEqual(await load.lost(), 0)
        await store.check_reachable()

    async def killed(self, **keys: Any) -> Load:
        """Kill the primary under load, let the replica take over, and go on."""
        await self.pair()
        store = await self.opened(port=self.addressed(), **keys)
        load = Load(store).start()
        await load.reaches(ENOUGH)
        load.outage()
        self.first.tell(signal.SIGKILL)
        await self.administrator(self.second).ask("REPLICAOF", "NO", "ONE")
        self.lead_to(self.second)
        if keys.get("replicas"):
            third = self.server(f"--replicaof 127.0.0.1 {self.second.port}").start()
            await self.in_step(self.administrator(self.second))
            self.addCleanup(third.stop)
        await reachable(store)  # a connection may still have led to the first
        load.recovered()
        await load.reaches(ENOUGH)
        await load.stop()
        return load

    async def test_killed_with_replicas_R_FAIL(self) -> None:
        """If the primary is killed, C{replicas: 1} loses no acknowledged token."""
        load = await self.killed(replicas=1)
        self.assertEqual(load.failures, [])
        self.assertEqual(await load.lost(), 0)

    async def test_killed_R_FAIL(self) -> None:
        """
        Without C{replicas} few of the last tokens may be lost with the primary; the store goes
        on without a restart.
        """
        load = await self.killed()
        lost = await load.lost()
        print(f"lost {lost} of {len(load.acknowledged)}")
        self.assertEqual(load.failures, [])
        self.assertLess(lost, ENOUGH)

    async def test_no_replica_R_FAIL(self) -> None:
        """With C{replicas} a change that no replica confirms is not acknowledged."""
        self.first = self.server().start()
        store = await self.opened(port=self.first.port, replicas=1)
        error = await outcome(store.add(make_token()))
        self.assertIn("store.replicas", str(error))
        self.assertIsNone(await outcome(store.get(make_token().id)))


class SentinelTests(FailoverCase):
    """Sentinel names the primary."""

    async def test_sentinel_R_FAIL(self) -> None:
        """When Sentinel appoints the replica, the store follows without a restart."""
        await self.pair()
        sentinel = self.server()
        sentinel.folder.mkdir(parents=True)
        (sentinel.folder / "sentinel.conf").write_text(
            f"sentinel monitor mine 127.0.0.1 {self.first.port} 1\n"
            "sentinel down-after-milliseconds mine 500\nsentinel failover-timeout mine 5000\n"
        )
        sentinel.start()
        keys = {"sentinels": [f"127.0.0.1:{sentinel.port}"], "sentinel_service": "mine"}
        load = Load(await self.opened(**keys)).start()
        await load.reaches(ENOUGH)
        load.outage()
        self.first.tell(signal.SIGKILL)
        await load.reaches(ENOUGH)
        load.recovered()
        await load.stop()
        self.assertLess(await load.lost(), ENOUGH)
        await load.store.check_reachable()


class LoginTests(FailoverCase):
    """How Redis is reached, and as which user."""

    def setUp(self) -> None:
        self.folder = mkdtemp()  # the path of a socket must be short
        self.addCleanup(shutil.rmtree, self.folder)

    def documented(self) -> Sequence[str]:
        """The command with which the page creates the user."""
        [found] = re.findall(r"^ACL SETUSER (.*)$", DOCS.read_text(), re.MULTILINE)
        words: list[str] = found.split()
        return words

    async def uses(self, store: ITokenStore) -> None:
        """Do all that a gateway does with a store."""
        kept = make_token()
        await store.check_reachable()
        if IChecksPepper.providedBy(store):
            await store.set_pepper_check("value", await store.pepper_check())
        await store.add(kept, 100)
        await store.change(kept.id, {"name": "other", "expires": NOW + 60.0})
        await store.add(make_token(lineage=(kept.id,)), 100)
        self.assertEqual(len(await store.list_tokens(TokenQuery())), 2)
        self.assertEqual(len(await store.remove(kept.id, NOW)), 2)
        self.assertIsNotNone(await store.find_revoked(kept.id))
        await store.add(make_token(grant=Grant(expires=NOW - 1.0)))
        self.assertEqual(await store.delete_expired(NOW), 1)
        if IKeepsRecords.providedBy(store):
            await self.uses_records(store)

    async def uses_records(self, store: Any) -> None:
        """Do all that a gateway does with the records in a store, but to subscribe."""
        first = make_record()
        cursor = (await store.changes(None)).cursor
        self.assertTrue(await store.add_record(first, NOW))
        self.assertTrue(await store.replace_record(evolve(first, content="new"), first))
        self.assertEqual(len((await store.changes(cursor)).records), 1)
        self.assertEqual(len(await store.records("revocation", NOW)), 1)
        self.assertTrue(await store.remove_record("revocation", "one"))
        await store.delete_expired(NOW)

    async def test_documented_user_R_LOGIN(self) -> None:
        """The user of the page may run the commands that the store needs, and no others."""
        database = self.server().start()
        administrator = self.administrator(database)
        _, *rules = self.documented()
        await administrator.ask("ACL", "SETUSER", "gateway", *rules, ">canary")
        section = {"port": database.port, "username": "gateway", "password": "canary"}
        await self.opens_and_uses(section)
        for rule in rules:
            if rule.startswith("+") and rule not in {"+wait", "+role", "+subscribe"}:
                await administrator.ask("ACL", "SETUSER", "gateway", f"-{rule[1:]}")
                error = await outcome(self.opens_and_uses(section))
                self.assertIn(rule[1:].upper(), str(error), rule)
                await administrator.ask("ACL", "SETUSER", "gateway", rule)

    async def test_documented_user_subscribes_R_LOGIN(self) -> None:
        """The user of the page may subscribe to changes of records."""
        database = self.server().start()
        _, *rules = self.documented()
        await self.administrator(database).ask("ACL", "SETUSER", "gateway", *rules, ">canary")
        keys = {"port": database.port, "username": "gateway", "password": "canary"}
        prefix = "authotron:here:"
        one, other = [await self.opened(prefix=prefix, **keys) for _ in range(2)]
        told: list[None] = []
        cast(Any, one).on_change(lambda: told.append(None))
        await eventually(lambda: told, "subscribed")
        told.clear()
        await cast(Any, other).add_record(make_record(), NOW)
        await eventually(lambda: told, "told")

    async def opens_and_uses(self, section: dict[str, Any]) -> None:
        prefix = f"authotron:{make_token().id}:"
        await self.uses(await self.opened(prefix=prefix, **section))

    async def test_socket_R_LOGIN(self) -> None:
        """A UNIX socket is used by its absolute path."""
        socket = f"{self.folder}/redis.sock"
        self.server(f"--unixsocket {socket}").start()
        await self.uses(await self.opened(host=socket))
        missing = store_of({"type": "redis", "host": f"{socket}.not"})
        self.addCleanup(closed, missing)
        error = await outcome(missing.open())
        self.assertIn(f"{socket}.not cannot be reached: not found", str(error))

    async def test_client_certificate_R_LOGIN(self) -> None:
        """A client certificate is shown to a server that asks for one."""
        database = self.server("--tls-auth-clients yes").start()
        tls = database.folder / "tls"
        keys = {"host": "localhost", "port": database.port + 1, "tls": True}
        keys["tls_ca_file"] = database.authorities
        shown = {"tls_certificate_file": str(tls / "server.pem")}
        shown["tls_key_file"] = str(tls / "server.key")
        await self.uses(await self.opened(**keys, **shown))
        without = store_of({"type": "redis", **keys})
        self.addCleanup(closed, without)
        self.assertIsInstance(await outcome(without.open()), Unavailable)
