"""Tokens of other services, copied from real databases while they stay as they are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from bson import ObjectId
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from txmongo.connection import ConnectionPool

from tests.functional import wire
from tests.functional.daemon import Daemon, environment
from tests.functional.databases import PATH, Database, shared
from tests.waiting import DEADLINE, TEST_TIMEOUT

PEPPER = "the pepper of the acl-proxy"
TOKEN, ENDED, ELSEWHERE = "token-of-one-host", "token-that-ends", "token-without-user"
UUID = "0b0e8ab1-5b1c-4f0e-9d5e-0e6f0c3f7a11"

timeout = TEST_TIMEOUT


def hashed(token: str) -> str:
    return sha256((token + PEPPER).encode()).hexdigest()


class ImportCase(TestCase):
    """A gateway with a store of its own, into which tokens are copied."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        store = {"type": "sqlite", "path": "tokens.db", "imported": True}
        self.gateway = Daemon(self.folder)
        self.gateway.configure(store={**store, "acl_proxy_pepper": PEPPER})

    def serve(self) -> None:
        self.gateway.start()
        self.addCleanup(self.gateway.stop)

    def import_(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "authotron", "tokens", "import", words[0]]
        return subprocess.run(
            [*command, "--config", str(self.gateway.file), *words[1:]],
            check=False,
            capture_output=True,
            env=environment(environ),
            text=True,
            timeout=DEADLINE,
        )

    def whoami(self, token: str, host: str = "a.example.org") -> wire.Answer:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-Host": host}
        return wire.ask(self.gateway.port, "/whoami", headers)

    def status(self, token: str, host: str) -> int:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-Host": host}
        return wire.ask(self.gateway.port, "/authenticate", headers).status


class AclProxyTests(ImportCase):
    """The import from Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = Database("redis", Path(self.mktemp())).start()
        self.addCleanup(self.redis.stop)
        self.keep(TOKEN, hosts="A.example.org, b.example.org", email="m@example.org", comment="ci")
        self.keep(ENDED, hosts="a.example.org", email="n@example.org")
        self.tell("EXPIRE", f"tokens:{hashed(ENDED)}", "600")
        self.keep(ELSEWHERE, hosts="a.example.org")
        self.tell("SET", "tokens:no-token", "x")
        self.tell("SET", "ratelimit:x:1", "1")

    def tell(self, *words: str) -> str:
        command = [shutil.which("redis-cli", path=PATH) or "redis-cli", "-p", str(self.redis.port)]
        done = subprocess.run([*command, *words], capture_output=True, check=True, text=True)
        return done.stdout

    def keep(self, token: str, **fields: str) -> None:
        pairs = [word for pair in fields.items() for word in pair]
        self.tell("HSET", f"tokens:{hashed(token)}", *pairs, "created_at", "1700000000")

    def run_import(self, *words: str) -> subprocess.CompletedProcess[str]:
        rule = ("--realm", "machines", "--username", "{email}", "--role", "reader")
        return self.import_("acl-proxy", *rule, *words, REDIS_PORT=str(self.redis.port))

    def test_copied(self) -> None:
        """Copied tokens are valid for the same hosts as before; the source is not changed."""
        before = self.tell("DEBUG", "DIGEST")
        tried = self.run_import("--dry-run")
        self.assertIn(
            "2 tokens would be copied, 0 were present already, 2 were skipped", tried.stdout
        )
        done = self.run_import()
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("2 tokens were copied, 0 were present already, 2 were skipped", done.stdout)
        self.assertIn(f"tokens:{hashed(ELSEWHERE)[:8]}: the token has no field email", done.stderr)
        again = self.run_import()
        self.assertIn("0 tokens were copied, 2 were present already, 2 were skipped", again.stdout)
        self.assertEqual(self.tell("DEBUG", "DIGEST"), before)
        self.serve()
        told = self.whoami(TOKEN).json()
        self.assertEqual((told["realm"], told["username"]), ("machines", "m@example.org"))
        self.assertEqual(told["roles"], ["reader"])
        self.assertEqual(self.status(TOKEN, "a.example.org"), 200)
        self.assertEqual(self.status(TOKEN, "c.example.org"), 403)
        self.assertEqual(self.status(ENDED, "a.example.org"), 200)
        for bad in (ELSEWHERE, hashed(TOKEN), TOKEN + "x"):
            self.assertEqual(self.status(bad, "a.example.org"), 401, bad)

    def test_no_secrets_T50(self) -> None:
        """Neither report nor store contains a token, or a hash that acl-proxy would accept."""
        done = self.run_import()
        content = b"".join(each.read_bytes() for each in self.folder.glob("tokens.db*"))
        for secret in (TOKEN, ENDED, hashed(TOKEN), PEPPER):
            self.assertNotIn(secret, done.stdout + done.stderr)
            self.assertNotIn(secret.encode(), content)

    def test_mistakes(self) -> None:
        """Missing settings are reported before anything is read; a stopped Redis is a failure."""
        self.assertEqual(self.import_("acl-proxy", "--realm", "x").returncode, 2)
        self.redis.stop()
        away = self.run_import()
        self.assertEqual(away.returncode, 1)
        self.assertRegex(away.stderr, r"Redis at \S+ cannot be reached: connection refused")
        self.gateway.configure(store={"type": "sqlite", "path": "tokens.db"})
        unwanted = self.run_import()
        self.assertEqual(unwanted.returncode, 78, unwanted.stderr)
        self.assertIn("store.imported", unwanted.stderr)
        for done in (away, unwanted):
            self.assertNotIn("Traceback", done.stderr)


class AuthOTronTests(ImportCase):
    """The import from MongoDB."""

    def source(self) -> Any:
        """Return the database of an auth-o-tron, and write its configuration to C{file}."""
        section = shared("mongo").section
        self.file = str(Daemon(Path(self.mktemp())).configure(store=section).file)
        pool = ConnectionPool(section["uri"])
        self.addCleanup(pool.disconnect)
        return pool[section["database"]]

    async def test_copied(self) -> None:
        """Owners keep their identity, if a provider of the realm still knows them."""
        database = self.source()
        for name, uuid in {"alice": UUID, "bob": UUID[::-1]}.items():
            user = {"version": 1, "realm": "here", "username": name, "roles": ["old"]}
            await database["users"].insert_one({**user, "user_id": name})
            token = {"version": 1, "token_string": uuid, "scopes": {}}
            await database["tokens"].insert_one({"token": token, "user_id": name})
        await database["tokens"].insert_one({"token": {"token_string": "lonely-token"}})
        done = await deferToThread(self.import_, "auth-o-tron", "--from", self.file)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("2 tokens were copied, 0 were present already, 1 were skipped", done.stdout)
        self.assertEqual(await database["tokens"].count_documents({}), 3)
        await deferToThread(self.serve)
        told = (await deferToThread(self.whoami, UUID)).json()
        self.assertEqual((told["username"], told["roles"]), ("alice", ["reader"]))
        self.assertEqual((await deferToThread(self.whoami, UUID[::-1])).status, 401)
        moved = await deferToThread(
            self.import_, "auth-o-tron", "--from", self.file, "--realm", "elsewhere", "--dry-run"
        )
        self.assertIn("0 tokens would be copied, 2 were present already", moved.stdout)

    async def test_ids_of_any_type(self) -> None:
        """All tokens are copied, however many there are, and whatever the type of their ids is."""
        database = self.source()
        await database["users"].insert_one({"user_id": "1", "realm": "here", "username": "alice"})
        numbers = range(600)
        ids = [*numbers, *(f"{number:03}" for number in numbers), *(ObjectId() for _ in numbers)]
        for id_ in ids:
            token = {"token_string": f"token-called-{id_!r}"}
            await database["tokens"].insert_one({"_id": id_, "token": token, "user_id": "1"})
        done = await deferToThread(self.import_, "auth-o-tron", "--from", self.file, "--dry-run")
        self.assertIn(f"{len(ids)} tokens would be copied", done.stdout, done.stderr)

    def test_no_source(self) -> None:
        """A configuration without a MongoDB store cannot be imported from."""
        theirs = str(Daemon(Path(self.mktemp())).configure().file)
        done = self.import_("auth-o-tron", "--from", theirs)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
