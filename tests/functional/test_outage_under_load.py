"""The token store changes its primary, or restarts, while clients create API tokens over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.functional.databases import Database
from tests.functional.listening import Relay
from tests.waiting import DEADLINE, until

CLIENTS = 4
"""Clients that create API tokens at the same time."""

ENOUGH = 100
"""API tokens that are acknowledged before the outage, and after it."""

ALICE = {"Authorization": wire.basic("alice", "wonder"), "Content-Type": "application/json"}


@define(eq=False)
class Load:
    """
    Clients that create API tokens at a gateway without a pause.

    @ivar acknowledged: by its id, each API token for which the answer was 201.
    @ivar refused: the other answers.
    @ivar failures: those of them whose request was sent and answered in a time without an outage.
    """

    port: int
    acknowledged: dict[str, str] = field(factory=dict, init=False)
    refused: list[wire.Answer | None] = field(factory=list, init=False)
    failures: list[wire.Answer | None] = field(factory=list, init=False)
    _times: int = field(default=0, init=False)
    _over: threading.Event = field(factory=threading.Event, init=False)
    _clients: list[threading.Thread] = field(factory=list, init=False)

    def start(self) -> Load:
        for number in range(CLIENTS):
            client = threading.Thread(target=self._create, args=(number,), daemon=True)
            self._clients.append(client)
            client.start()
        return self

    def stop(self) -> None:
        self._over.set()
        for each in self._clients:
            each.join(DEADLINE)

    def changes(self) -> None:
        """The outage begins, or ends: times of an outage have odd numbers."""
        self._times += 1

    def reaches(self, number: int) -> None:
        """Wait until so many more API tokens are acknowledged."""
        wanted = len(self.acknowledged) + number
        until(lambda: len(self.acknowledged) >= wanted, "acknowledged", otherwise=self._told)

    def _told(self) -> str:
        return f"{len(self.acknowledged)} acknowledged, last refused: {self.refused[-3:]}"

    def _create(self, number: int) -> None:
        body = json.dumps({"name": f"client {number}"}).encode()
        while not self._over.is_set():
            began = self._times
            answer = self._answer(body)
            if answer is not None and answer.status == 201:
                made = answer.json()
                self.acknowledged[made["id"]] = made["token"]
                continue
            self.refused.append(answer)
            if began == self._times and began % 2 == 0:
                self.failures.append(answer)
            self._over.wait(0.05)

    def _answer(self, body: bytes) -> wire.Answer | None:
        headers = {**ALICE, "Content-Length": str(len(body)), "Connection": "close"}
        return wire.say(self.port, wire.head("/tokens", headers, "POST") + body)


class OutageCase(SynchronousTestCase):
    """A gateway with a token store whose server changes under load."""

    def gateway(self, **section: Any) -> Daemon:
        gateway = Daemon(Path(self.mktemp()))
        gateway.configure(store=section, tokens={"max_per_owner": 100_000})
        self.addCleanup(gateway.stop)
        gateway.start().logged("opened")
        return gateway

    def played(self, gateway: Daemon, outage: Callable[[], None]) -> Load:
        """
        Let clients create API tokens before, during and after an outage, and check that errors
        were outages of the store, and that the gateway was not restarted.
        """
        load = Load(gateway.port).start()
        self.addCleanup(load.stop)
        load.reaches(ENOUGH)
        load.changes()
        outage()
        load.reaches(CLIENTS)
        load.changes()
        load.reaches(ENOUGH)
        load.stop()
        self.assertEqual(load.failures, [])
        for each in load.refused:
            assert each is not None
            self.assertEqual((each.status, bool(each.header("retry-after"))), (503, True))
        self.assertIsNone(gateway.process.poll())
        self.assertNotIn("ERROR", gateway.log())
        return load

    def lost(self, gateway: Daemon, load: Load) -> set[str]:
        """Return the ids of the acknowledged API tokens that the store does not have."""
        found: set[str] = set()
        after: str | None = ""
        while after is not None:
            page = wire.ask(gateway.port, f"/tokens?limit=1000{after}", headers=ALICE).json()
            found |= {each["id"] for each in page["tokens"]}
            after = f"&after={page['next']}" if page.get("next") else None
        return set(load.acknowledged) - found

    def nothing_lost(self, gateway: Daemon, load: Load) -> None:
        """All acknowledged API tokens are stored, and are credentials."""
        self.assertEqual(self.lost(gateway, load), set())
        for token in [*load.acknowledged.values()][:: ENOUGH // 10]:
            bearer = {"Authorization": f"Bearer {token}"}
            self.assertEqual(wire.ask(gateway.port, "/authenticate", headers=bearer).status, 200)


class RedisTests(OutageCase):
    """A primary and a replica of Redis, behind an address that leads to one of them."""

    def setUp(self) -> None:
        self.first = self.server()
        self.second = self.server(f"--replicaof 127.0.0.1 {self.first.port}")
        self.wait_for_replica(self.first)
        self.address = Relay(self.first.port).start()
        self.addCleanup(self.address.stop)

    def server(self, *options: str) -> Database:
        database = Database("redis", Path(self.mktemp()), {"REDIS_OPTIONS": " ".join(options)})
        self.addCleanup(database.stop)
        return database.start()

    def told(self, database: Database, *words: str) -> str:
        command = ["redis-cli", "-p", str(database.port), *words]
        done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=DEADLINE)
        return done.stdout

    def wait_for_replica(self, primary: Database) -> None:
        def has_replica() -> bool:
            return "state=online" in self.told(primary, "INFO", "replication")

        until(has_replica, "a primary with a replica")

    def test_coordinated_R_FAIL(self) -> None:
        """If the primary hands over (FAILOVER), no acknowledged API token is lost."""

        def hand_over() -> None:
            target = ("127.0.0.1", str(self.second.port))
            self.told(self.first, "FAILOVER", "TO", *target, "TIMEOUT", "5000")
            self.wait_for_replica(self.second)
            self.address.target = self.second.port

        gateway = self.gateway(type="redis", port=self.address.port)
        self.nothing_lost(gateway, self.played(gateway, hand_over))

    def test_killed_with_replicas_R_FAIL(self) -> None:
        """If the primary is killed, C{replicas: 1} loses no acknowledged API token."""

        def kill() -> None:
            self.first.tell(signal.SIGKILL)
            self.told(self.second, "REPLICAOF", "NO", "ONE")
            self.server(f"--replicaof 127.0.0.1 {self.second.port}")
            self.wait_for_replica(self.second)
            self.address.target = self.second.port

        gateway = self.gateway(type="redis", port=self.address.port, replicas=1)
        self.nothing_lost(gateway, self.played(gateway, kill))


class MongoTests(OutageCase):
    """A server of the protocol of MongoDB that is killed and started again."""

    def test_restart_R_FAIL(self) -> None:
        """No acknowledged API token is lost."""
        database = Database("mongo", Path(self.mktemp())).start()
        self.addCleanup(database.stop)

        def restart() -> None:
            database.tell(signal.SIGKILL)
            database.stop()
            database.start()

        gateway = self.gateway(**database.section)
        self.nothing_lost(gateway, self.played(gateway, restart))
