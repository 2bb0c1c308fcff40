"""API tokens with real processes and real databases."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon, environment
from tests.functional.databases import Database, shared
from tests.functional.proxies.shipped import Nginx
from tests.functional.proxy import Backend
from tests.waiting import DEADLINE, until

ALICE = {"Authorization": wire.basic("alice", "wonder")}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def new(port: int, **wish: Any) -> dict[str, Any]:
    """Create a token, and return it."""
    status, answer = post(port, "/tokens", wish, ALICE)
    assert status == 201, answer
    return answer


def post(
    port: int, path: str, content: Any, headers: Mapping[str, str]
) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        kind = {"Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(content), {**headers, **kind})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()


def status(port: int, token: str) -> int:
    return wire.ask(port, "/authenticate", bearer(token)).status


class TokenCase(SynchronousTestCase):
    """Daemons with a store."""

    def daemon(self, section: dict[str, Any], **over: Any) -> Daemon:
        daemon = Daemon(Path(self.mktemp())).configure(store=section, **over).start()
        self.addCleanup(daemon.stop)
        return daemon

    def sqlite(self) -> dict[str, Any]:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.file = folder / "tokens.db"
        return {"type": "sqlite", "path": str(self.file)}


class TwoProcessesTests(TokenCase):
    """Two gateways on one store."""

    def share(self, section: dict[str, Any]) -> None:
        """Expect that both gateways accept a token, and refuse it soon after its revocation."""
        one, other = self.daemon(section), self.daemon(section)
        made = new(one.port)
        self.assertEqual([status(each.port, made["token"]) for each in (one, other)], [200, 200])
        answer = wire.ask(one.port, f"/tokens/{made['id']}", ALICE, "DELETE")
        self.assertEqual(answer.status, 204)
        self.assertEqual(status(one.port, made["token"]), 401)
        until(lambda: status(other.port, made["token"]) == 401, "revoked")

    def test_sqlite_T42(self) -> None:
        """Two gateways share one SQLite file."""
        self.share(self.sqlite())

    def test_redis_T42(self) -> None:
        """Two gateways share one Redis."""
        self.share(shared("redis").section)

    def test_mongo_T42(self) -> None:
        """Two gateways share one MongoDB."""
        self.share(shared("mongo").section)


class LargeTests(TokenCase):
    """Large tokens that an earlier version has stored."""

    def test_list_at_once_T84b(self) -> None:
        """While four clients list 700 tokens of 50 kB no worker is lost, and others are served."""
        section = self.sqlite()
        daemon = self.daemon(section, server={"workers": 2})
        pattern = new(daemon.port)
        self.fill(pattern["id"], 700)
        stopped = Event()

        def list_() -> int:
            after, count = "", 0
            while True:
                answer = wire.ask(daemon.port, f"/tokens?limit=1000{after}", ALICE)
                content = answer.json()
                count += len(content["tokens"])
                if "next" not in content:
                    return count
                after = f"&after={content['next']}"

        def ordinary() -> set[int]:
            found = set()
            while not stopped.is_set():
                found.add(wire.ask(daemon.port, "/authenticate", ALICE).status)
            return found

        with ThreadPoolExecutor(5) as pool:
            others = pool.submit(ordinary)
            lists = [pool.submit(list_) for _ in range(4)]
            try:
                self.assertEqual([each.result() for each in lists], [701] * 4)
            finally:
                stopped.set()
            self.assertEqual(others.result(), {200})
        for word in ("ended unexpectedly", "does not answer"):
            self.assertNotIn(word, daemon.log())

    def fill(self, pattern: str, count: int) -> None:
        """Store copies of an existing token, with scopes of 50 kB."""
        scopes: dict[str, list[str]] = {f"service-{number}": [] for number in range(2500)}
        database = sqlite3.connect(self.file)
        [fixed] = database.execute("SELECT fixed FROM tokens WHERE id = ?", [pattern]).fetchone()
        large = json.dumps({**json.loads(fixed), "only_scopes": scopes})
        for number in range(count):
            database.execute(
                "INSERT INTO tokens SELECT ?, ?, realm, username, name, comment, created, expires,"
                " used, ?, parent, origin FROM tokens WHERE id = ?",
                [f"0000000{number:05}", f"hash {number}", large, pattern],
            )
        database.commit()
        database.close()


class DumpTests(TokenCase):
    """The files of a store contain no token."""

    def secrets(self, section: dict[str, Any]) -> list[bytes]:
        daemon = self.daemon(section)
        made = [new(daemon.port, name=f"named-{number}")["token"] for number in range(10)]
        for token in made:
            self.assertEqual(status(daemon.port, token), 200)
        daemon.stop()
        self.assertNotIn(made[0], daemon.log())
        return [token[17:60].encode() for token in made]

    def assert_useless(self, content: bytes, secrets: list[bytes]) -> None:
        self.assertIn(b"named-9", content)
        for secret in secrets:
            self.assertNotIn(secret, content)

    def test_sqlite_T50(self) -> None:
        """The SQLite file and its journal contain no token."""
        secrets = self.secrets(self.sqlite())
        files = [path for path in self.file.parent.iterdir() if path.suffix != ".pepper"]
        self.assert_useless(b"".join(path.read_bytes() for path in files), secrets)

    def test_redis_T50(self) -> None:
        """The append-only file of Redis contains no token."""
        secrets = self.secrets(shared("redis").section)
        self.assert_useless(shared("redis").content(), secrets)

    def test_mongo_T50(self) -> None:
        """The files of MongoDB contain no token."""
        database = Database("mongo", Path(self.mktemp())).start()
        self.addCleanup(database.stop)
        secrets = self.secrets(database.section)
        database.stop()
        self.assert_useless(database.content(), secrets)


class KilledTests(TokenCase):
    """The gateway is killed."""

    def test_sqlite(self) -> None:
        """Every token that was acknowledged before a SIGKILL is valid after it."""
        section = self.sqlite()
        daemon = self.daemon(section, tokens={"max_per_owner": 200})
        acknowledged: list[str] = []
        for number in range(200):
            if number == 150:
                daemon.tell(signal.SIGKILL)
            try:
                acknowledged.append(new(daemon.port)["token"])
            except OSError:
                break
        daemon.exit_status()
        self.assertGreaterEqual(len(acknowledged), 150)
        again = self.daemon(section)
        self.assertEqual({status(again.port, token) for token in acknowledged}, {200})


class OutageTests(TokenCase):
    """A store that is unavailable for some time."""

    def come_and_go(self, database: Database) -> None:
        self.addCleanup(database.stop)
        daemon = self.daemon(database.start().section)
        token = new(daemon.port)["token"]
        database.stop()
        until(lambda: status(daemon.port, token) == 503, "noticed")
        answer = wire.ask(daemon.port, "/authenticate", bearer(token))
        self.assertEqual(answer.header("Retry-After"), "5")
        self.assertEqual(wire.ask(daemon.port, "/authenticate", ALICE).status, 200)
        self.assertEqual(post(daemon.port, "/tokens", {}, ALICE)[0], 503)
        parts = wire.ask(daemon.operations, "/ready").json()["parts"]
        [told] = [part for part in parts if part["type"] == "token-store"]
        self.assertFalse(told["reachable"])
        database.start()
        until(lambda: status(daemon.port, token) == 200, "back", otherwise=daemon.log)

    def test_redis(self) -> None:
        """While Redis is down, users of tokens get a 503, and others a 200."""
        self.come_and_go(Database("redis", Path(self.mktemp())))

    def test_mongo(self) -> None:
        """While MongoDB is down, users of tokens get a 503, and others a 200."""
        self.come_and_go(Database("mongo", Path(self.mktemp())))

    def test_absent_at_first(self) -> None:
        """The gateway starts without its store, and uses it as soon as it is there."""
        database = Database("redis", Path(self.mktemp()))
        self.addCleanup(database.stop)
        daemon = self.daemon(database.section)
        self.assertEqual(wire.ask(daemon.port, "/authenticate", ALICE).status, 200)
        self.assertEqual(post(daemon.port, "/tokens", {}, ALICE)[0], 503)
        database.start()
        daemon.logged("opened")
        self.assertEqual(status(daemon.port, new(daemon.port)["token"]), 200)

    def test_others_tokens(self) -> None:
        """With a store of another program the gateway does not start."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        section = {"type": "sqlite", "path": str(folder / "tokens.db")}
        first = self.daemon(section)
        first.stop()
        with sqlite3.connect(folder / "tokens.db") as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
        daemon = Daemon(Path(self.mktemp())).configure(store=section).launch()
        self.assertEqual(daemon.exit_status(), 78)
        self.assertIn("newer version", daemon.log())


class ReloadTests(TokenCase):
    """A configuration that changes."""

    def reload(self, daemon: Daemon, **over: Any) -> None:
        daemon.configure(**over)
        before = daemon.log().count("configuration reloaded")
        daemon.tell(signal.SIGHUP)
        until(
            lambda: daemon.log().count("configuration reloaded") > before,
            "reloaded",
            otherwise=daemon.log,
        )

    def test_kept(self) -> None:
        """A reload with the same section keeps the store, even a store in memory."""
        daemon = self.daemon({"type": "memory"})
        token = new(daemon.port)["token"]
        self.reload(daemon, store={"type": "memory"}, tokens={"ttl": 60})
        self.assertEqual(status(daemon.port, token), 200)
        made = new(daemon.port)
        self.assertEqual(made["expires"] - made["created"], 60)

    def test_another(self) -> None:
        """A reload can change to another store, and to none."""
        daemon = self.daemon({"type": "memory"})
        token = new(daemon.port)["token"]
        self.reload(daemon, store=self.sqlite())
        self.assertEqual(status(daemon.port, token), 401)
        token = new(daemon.port)["token"]
        self.assertEqual(status(daemon.port, token), 200)
        self.reload(daemon, store={"enabled": False})
        self.assertEqual(status(daemon.port, token), 401)
        self.assertEqual(wire.ask(daemon.port, "/tokens", ALICE).status, 503)


class CommandTests(TokenCase):
    """C{authotron tokens}."""

    def setUp(self) -> None:
        self.gateway = self.daemon(self.sqlite())

    def run_command(self, *words: str) -> subprocess.CompletedProcess[str]:
        program = "from authotron.cli.main import main; main(prog_name='authotron')"
        command = [sys.executable, "-c", program, "tokens", words[0]]
        return subprocess.run(
            [*command, "--config", str(self.gateway.file), *words[1:]],
            check=False,
            capture_output=True,
            env=environment(),
            text=True,
            timeout=DEADLINE,
        )

    def create(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run_command("create", "--realm", "here", "--username", *words)

    def test_life(self) -> None:
        """Tokens are created, listed, shown and revoked beside a running gateway."""
        created = self.create("alice", "--name", "ci", "--ttl", "1h")
        token = created.stdout.strip()
        self.assertIn("of alice in realm here created by", created.stderr)
        self.assertNotIn(token, created.stderr)
        self.assertEqual(status(self.gateway.port, token), 200)
        self.assertEqual(self.explained(token), 0)
        id_ = token[4:16]
        listed = self.run_command("list").stdout
        self.assertIn(f"{id_}  here/alice  ci    all    ", listed.splitlines()[1])
        self.assertEqual(json.loads(self.run_command("show", id_).stdout)["name"], "ci")
        self.assertEqual(self.run_command("prune").returncode, 0)
        revoked = self.run_command("revoke", id_)
        self.assertEqual(revoked.returncode, 0)
        self.assertIn(f"API token {id_} of alice in realm here revoked", revoked.stderr)
        until(lambda: status(self.gateway.port, token) == 401, "revoked")
        self.assertEqual(self.run_command("revoke", id_).returncode, 1)
        self.assertEqual(self.explained(token), 1)

    def test_revoke_several_T86a(self) -> None:
        """All tokens of a list are revoked, also if one is unknown, or ends with its parent."""
        made = [new(self.gateway.port) for _ in range(2)]
        parent = bearer(made[0]["token"])
        child = post(self.gateway.port, "/tokens", {}, parent)[1]
        ids = (made[0]["id"], child["id"], made[1]["id"])
        done = self.run_command("revoke", ids[0], "000000000000", *ids[1:])
        self.assertEqual(done.stdout.splitlines(), [f"revoked {id_}" for id_ in ids])
        self.assertIn("000000000000: there is no such API token", done.stderr)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.run_command("list").stdout, "")

    def test_left_out_T82b(self) -> None:
        """A role that the owner lacks is named in a warning."""
        done = self.create("alice", "--owner-role", "reader ")
        self.assertIn("role 'reader ', which begins or ends with a blank", done.stderr)

    def explained(self, token: str) -> int:
        """Return the exit status of C{authotron explain}."""
        command = [sys.executable, "-m", "authotron", "explain", "--config", str(self.gateway.file)]
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            env=environment(),
            input=f"Bearer {token}",
            text=True,
            timeout=DEADLINE,
        )
        self.assertNotIn("unavailable", done.stdout)
        return done.returncode

    def test_mistakes(self) -> None:
        """No token is created for an unknown user, an unknown role, or too long a lifetime."""
        for words in (("bob",), ("alice", "--role", "admin"), ("alice", "--ttl", "3000d")):
            done = self.create(*words)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertTrue(done.stderr.strip())
            self.assertNotIn("Traceback", done.stderr)
        self.assertEqual(self.create("alice", "--host", "*.*").returncode, 2)


class NginxTests(TokenCase):
    """Tokens for some hosts, behind nginx with the shipped example."""

    def test_hosts_T01(self) -> None:
        """The host of the request to nginx decides, whatever else the client sends."""
        daemon = self.daemon({"type": "memory"})
        backend = Backend(Path(self.mktemp())).start()
        self.addCleanup(backend.stop)
        nginx = Nginx(Path(self.mktemp()), daemon.port, backend.port).start()
        self.addCleanup(nginx.stop)
        token = new(daemon.port, hosts=["a.example.org"])["token"]

        def ask(host: str, **headers: str) -> int:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            request = wire.head("/", {**bearer(token), **named}, host=host)
            answer = wire.say(nginx.port, request)
            return answer.status if answer else 0

        for _ in range(2):
            self.assertEqual(ask("a.example.org"), 200)
            self.assertEqual(ask("b.example.org"), 403)
            self.assertEqual(ask("b.example.org", X_Forwarded_Host="a.example.org"), 403)
            self.assertEqual(ask("a.example.org", X_Forwarded_Host="b.example.org"), 200)
