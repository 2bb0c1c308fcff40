"""Policies in a token store that two gateways share, changed by the commands of an operator."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import test_workers, wire
from tests.functional.daemon import TWISTD, Daemon, environment
from tests.functional.databases import Database, shared
from tests.functional.test_workers import Traffic, workers
from tests.waiting import DEADLINE, until

ALICE = wire.basic("alice", "wonder")
PEERS = {"trusted_proxies": ["127.0.0.1/32"]}
READ: dict[str, Any] = {
    "name": "read",
    "subject": [["role=reader"]],
    "permissions": ["/data/**:GET"],
}
DENY = {**READ, "name": "deny", "permissions": ["-/data/secret:*"]}
EVERYTHING = {**READ, "name": "everything", "permissions": ["/**:*"]}


def asking(path: str, method: str = "GET") -> dict[str, str]:
    """Return the headers in which nginx asks about a request of alice."""
    return {"Authorization": ALICE, "X-Original-URI": path, "X-Original-Method": method}


class StoredCase(SynchronousTestCase):
    """Gateways with policies in a store, and the commands that change the store."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def gateway(self, store: dict[str, Any], name: str = "one", **over: Any) -> Daemon:
        """Configure a gateway on a store."""
        daemon = Daemon(self.folder / name)
        policy = {"store": True, "recheck": "1s", **over.pop("policy", {})}
        server = {**PEERS, **over.pop("server", {})}
        return daemon.configure(server=server, store=store, policy=policy, **over)

    def started(self, daemon: Daemon) -> Daemon:
        self.addCleanup(daemon.stop)
        return daemon.start()

    def command(self, daemon: Daemon, *words: str, status: int = 0) -> str:
        """Run C{authotron policy}, and return its output."""
        done = subprocess.run(
            [str(TWISTD.parent / "authotron"), "policy", *words, "--config", str(daemon.file)],
            capture_output=True,
            check=False,
            cwd=self.folder,
            env=environment(),
            timeout=DEADLINE,
            text=True,
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.errors = done.stderr
        return done.stdout

    def apply(self, daemon: Daemon, label: str, *rules: Any, status: int = 0) -> Any:
        """Make some rules those of a label, and return what the command says."""
        file = self.folder / f"{label}.json"
        file.write_text(json.dumps({"rules": rules}))
        words = ("apply", "--json", "--label", label, str(file))
        return json.loads(self.command(daemon, *words, status=status))

    def status(self, daemon: Daemon, path: str = "/data/x", method: str = "GET") -> int:
        return int(wire.ask(daemon.port, "/authenticate", asking(path, method)).status)

    def follows(self, daemon: Daemon, wanted: dict[str, int]) -> None:
        """Wait until a gateway answers as wanted, by the paths of requests."""

        def found() -> dict[str, int]:
            return {path: self.status(daemon, path) for path in wanted}

        until(found, f"{wanted}", wanted=lambda seen: seen == wanted, otherwise=daemon.log)

    def policies(self, daemon: Daemon) -> Any:
        return wire.ask(daemon.operations, "/ready").json()["policies"]


class TwoGateways:
    """Two gateways that share one store."""

    def store(self: Any) -> dict[str, Any]:
        """Return the section of a store for both gateways."""
        raise NotImplementedError

    def test_follow(self: Any) -> None:
        """Both gateways follow each change, count only whole ones, and lose no request."""
        store = self.store()
        gateways = [self.gateway(store, name) for name in ("one", "two")]
        one = gateways[0]
        self.apply(one, "readers", READ)
        for each in gateways:
            self.started(each)
            self.follows(each, {"/data/x": 200, "/data/secret": 200, "/other": 403})
        self.assertEqual(self.apply(one, "secrets", DENY)["version"], 2)
        for each in gateways:
            self.follows(each, {"/data/x": 200, "/data/secret": 403})
        bad = {**EVERYTHING, "permissions": ["/**"]}
        self.apply(one, "readers", EVERYTHING, bad, status=78)
        self.apply(one, "readers", EVERYTHING, DENY, status=78)
        self.assertEqual(self.apply(one, "readers", EVERYTHING)["changes"][0]["how"], "created")
        for each in gateways:
            self.follows(each, {"/other": 200, "/data/secret": 403})
            self.assertEqual(self.policies(each)["version"], 3)
        self.command(one, "apply", "--label", "readers", "--delete")
        for each in gateways:
            self.follows(each, {"/data/x": 403, "/data/secret": 403})
            self.assertEqual(each.metric("authotron_policies_version"), 4.0)

    def test_first_policies_Q_POLICIES(self: Any) -> None:
        """Gateways on a store without policies answer 503 until there are some."""
        gateway = self.started(self.gateway(self.store(), policy={"default": "allow"}))
        self.assertEqual((self.status(gateway), self.policies(gateway)["version"]), (503, None))
        self.command(gateway, "apply", "--label", "none", "--delete")
        self.follows(gateway, {"/data/x": 200})


class SqliteTests(TwoGateways, StoredCase):
    """A file of SQLite."""

    def store(self) -> dict[str, Any]:
        return {"type": "sqlite", "path": str(self.folder / "tokens.db")}

    def test_commands(self) -> None:
        """The commands print what is stored and what changes, and end with their statuses."""
        gateway = self.gateway(self.store(), policy={"rules": [{**READ, "name": "local"}]})
        self.assertEqual(self.command(gateway, "list"), "The token store contains no policies.\n")
        rules = self.folder / "rules.yaml"
        rules.write_text(
            json.dumps({"rules": [READ], "groups": [{"name": "g", "subject": [["a=b"]]}]})
        )
        words = ("apply", "--label", "team", str(rules))
        dry = self.command(gateway, *words, "--dry-run", status=1)
        self.assertEqual(
            dry,
            "+ rule read\n+ group g\nDry run: the token store keeps version 0 of the policies.\n",
        )
        self.command(gateway, *words, "--expect", "0")
        self.assertIn("policies of label team in the token store changed to version 1", self.errors)
        self.assertEqual(
            self.command(gateway, *words, "--dry-run"),
            "Nothing to change: the token store has version 1 of the policies.\n",
        )
        self.assertEqual(
            self.command(gateway, "list"), "version 1\nteam  rule  read  /\nteam  group  g  /\n"
        )
        printed = self.command(gateway, "list", "--yaml", "--label", "team")
        again = self.folder / "again.yaml"
        again.write_text(printed)
        self.command(gateway, "apply", "--label", "team", str(again), "--dry-run")
        self.assertIn(
            "Nothing to change", self.command(gateway, "apply", "--label", "team", str(again))
        )
        self.command(gateway, *words, "--expect", "0", status=1)
        self.assertIn("has version 1, and not the expected version 0", self.errors)
        self.assertIn("(read: /data/**:GET)", self.command(gateway, "who-can", "GET", "/data/x"))
        self.assertIn("(local: /data/**:GET)", self.command(gateway, "who-can", "GET", "/data/x"))

    def test_commands_at_once_Q_APPLY(self) -> None:
        """Commands that run at the same time do not lose each other's changes."""
        gateway = self.gateway(self.store())
        self.apply(gateway, "first", READ)
        running = []
        for number in range(6):
            file = self.folder / f"{number}.json"
            file.write_text(json.dumps({"rules": [{**READ, "name": f"r{number}"}]}))
            words = ["apply", "--label", f"l{number}", str(file), "-c", str(gateway.file)]
            running.append(
                subprocess.Popen(
                    [str(TWISTD.parent / "authotron"), "policy", *words],
                    env=environment(),
                    stdout=subprocess.DEVNULL,
                )
            )
        self.assertEqual([each.wait(DEADLINE) for each in running], [0] * len(running))
        stored = json.loads(self.command(gateway, "list", "--json"))
        self.assertEqual(stored["version"], 7)
        self.assertEqual(sorted(stored["labels"]), ["first", *(f"l{n}" for n in range(6))])

    def test_damaged_Q_POLICIES(self) -> None:
        """A damaged document changes nothing in a running gateway; a new one allows nothing."""
        gateway = self.gateway(self.store(), policy={"default": "allow"})
        self.apply(gateway, "team", DENY)
        self.started(gateway)
        self.follows(gateway, {"/data/x": 200, "/data/secret": 403})
        with sqlite3.connect(self.folder / "tokens.db") as database:
            database.execute("UPDATE policies SET state = '2-x', content = x'00'")
        gateway.logged("policies of version 2 in the token store are refused")
        self.assertEqual((self.status(gateway, "/data/secret"), self.status(gateway)), (403, 200))
        other = self.started(self.gateway(self.store(), "two", policy={"default": "allow"}))
        other.logged("in use stays version none")
        self.assertEqual(self.status(other), 503)
        self.apply(gateway, "team", DENY, status=78)
        words = ("apply", "--label", "team", str(self.folder / "team.json"), "--replace-all")
        self.command(gateway, *words)
        self.follows(other, {"/data/x": 200, "/data/secret": 403})

    def test_workers_Q_POLICIES(self) -> None:
        """Workers follow changes; a reload or a lost worker during an outage changes nothing."""
        store = {**self.store(), "timeout": "1s"}
        gateway = self.gateway(store, server={"workers": 2}, policy={"default": "allow"})
        self.apply(gateway, "team", DENY)
        self.started(gateway)
        self.follows(gateway, {"/data/x": 200, "/data/secret": 403})
        other = {**DENY, "name": "other", "permissions": ["-/other:*"]}
        self.apply(gateway, "more", other)
        until(lambda: gateway.metric("authotron_policies_version") == 2.0, "both follow")
        database = self.folder / "tokens.db"
        database.rename(self.folder / "away.db")
        (self.folder / "tokens.db-wal").rename(self.folder / "away.db-wal")
        database.mkdir()
        gateway.tell(signal.SIGHUP)
        gateway.logged("a new worker cannot read the policies in the token store")
        gateway.logged("a worker with the new configuration did not start")
        for _ in range(20):
            self.assertEqual((self.status(gateway), self.status(gateway, "/other")), (200, 403))
        lost = "a new worker cannot read the policies in the token store"
        before, victim = gateway.log().count(lost), next(iter(workers(gateway)))
        os.kill(victim, signal.SIGKILL)
        until(lambda: gateway.log().count(lost) > before + 1, "tried again", otherwise=gateway.log)
        for _ in range(20):
            self.assertEqual((self.status(gateway), self.status(gateway, "/other")), (200, 403))
        database.rmdir()
        (self.folder / "away.db").rename(database)
        (self.folder / "away.db-wal").rename(self.folder / "tokens.db-wal")
        until(lambda: list(workers(gateway).values()) == ["serving"] * 2, "two workers")
        for _ in range(20):
            self.assertEqual((self.status(gateway), self.status(gateway, "/other")), (200, 403))


class RedisTests(TwoGateways, StoredCase):
    """A Redis server, which may stop."""

    def store(self) -> dict[str, Any]:
        return shared("redis").section

    def test_outage_Q_POLICIES(self) -> None:
        """While Redis is down policies stay in use; a gateway that starts then allows nothing."""
        database = Database("redis", self.folder / "redis").start()
        self.addCleanup(database.stop)
        store = database.section
        old, new = (
            self.gateway(store, "one"),
            self.gateway(store, "two", policy={"default": "allow"}),
        )
        self.apply(old, "team", READ, DENY)
        self.started(old)
        self.follows(old, {"/data/x": 200, "/data/secret": 403})
        database.stop()
        old.logged("policies of version 1, which the token store had")
        self.started(new)
        new.logged("the policies in the token store are not known, so no request is allowed")
        self.assertEqual(self.status(new), 503)
        self.assertEqual((self.status(old), self.status(old, "/data/secret")), (200, 403))
        until(lambda: self.policies(old)["age"] > 1, "aged")
        self.assertIn("problem", self.policies(old))
        self.assertEqual(wire.ask(new.operations, "/ready").status, 503)
        database.start()
        self.follows(new, {"/data/x": 200, "/data/secret": 403, "/other": 200})
        old.logged("the policies in the token store can be read again")
        self.assertEqual(old.log().count("policies of version 1, which the token store had"), 1)

    def test_no_request_is_lost(self) -> None:
        """Under traffic every request is answered with 200 while the policies change."""
        gateway = self.gateway(self.store())
        self.apply(gateway, "team", READ)
        self.started(gateway)
        self.follows(gateway, {"/data/x": 200})
        self.patch(test_workers, "ASK", wire.head("/authenticate", asking("/data/x")))
        traffic = Traffic(gateway.port)
        self.addCleanup(traffic.stop)
        for version in range(2, 5):
            self.apply(gateway, "more", {**DENY, "description": str(version)})
            until(lambda: self.policies(gateway)["version"] == version, "followed")  # noqa: B023 - called at once
            traffic.more(100)
        traffic.stop()
        self.assertEqual(traffic.bad, [])


class MongoTests(TwoGateways, StoredCase):
    """A server of the MongoDB protocol."""

    def store(self) -> dict[str, Any]:
        return shared("mongo").section
