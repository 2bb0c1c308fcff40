"""Revocations that hold for all workers, and through kills, restarts and reloads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import jwt

from tests.functional import wire
from tests.functional.daemon import TWISTD, USERS, Daemon, environment
from tests.functional.test_workers import COUNT, WorkersCase, workers
from tests.waiting import DEADLINE, until

SECRET = "a-secret-of-an-issuer-with-32-bytes-or-more"
STAFF = {
    "name": "local",
    "type": "plain",
    "realm": "here",
    "users": [*USERS, {"username": "root", "password": "toor", "roles": ["keeper"]}],
}
SSO = {"name": "sso", "type": "jwt", "realm": "here", "secret": SECRET, "algorithms": ["HS256"]}
ROOT, ALICE = wire.basic("root", "toor"), wire.basic("alice", "wonder")


def token(name: str = "alice", **claims: Any) -> str:
    """Return a bearer token of the identity provider."""
    now = int(time.time())  # noqa: TID251 - real processes have the real time
    given = {"sub": name, "jti": f"{name}-1", "iat": now - 60, "exp": now + 3_600, **claims}
    return f"Bearer {jwt.encode(given, SECRET, 'HS256')}"


class RevocationsCase(WorkersCase):
    """Gateways that share an SQLite file."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.store = {
            "type": "sqlite",
            "path": str(self.folder / "tokens.db"),
            "admins": {"here": ["keeper"]},
        }

    def start(self, **over: Any) -> Daemon:
        usual = {"providers": [STAFF, SSO], "store": self.store, "revocation": {}}
        return super().start(**{**usual, **over})

    def statuses(self, daemon: Daemon, credential: str) -> set[int]:
        """Return the answers of all workers, on many new connections."""
        fields = {"Authorization": credential}
        return {wire.ask(daemon.port, "/authenticate", fields).status for _ in range(10 * COUNT)}

    def revoke(self, daemon: Daemon, by: str = ROOT, **content: Any) -> str:
        """Make a revocation, and return its id."""
        body = json.dumps(content).encode()
        fields = {
            "Authorization": by,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        answer = wire.say(daemon.port, wire.head("/revocations", fields, "POST") + body)
        assert answer is not None
        self.assertEqual(answer.status, 201, answer.body)
        return str(answer.json()["id"])

    def logout(self, daemon: Daemon, credential: str) -> int:
        fields = {"Authorization": credential, "Content-Length": "0"}
        return wire.ask(daemon.port, "/logout", fields, "POST").status

    def command(self, daemon: Daemon, *words: str) -> str:
        done = subprocess.run(
            [str(TWISTD.parent / "authotron"), *words, "--config", str(daemon.file)],
            capture_output=True,
            check=False,
            cwd=self.folder,
            env=environment(),
            timeout=DEADLINE,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def becomes(self, daemon: Daemon, credential: str, status: int) -> None:
        until(
            lambda: self.statuses(daemon, credential) == {status},
            f"{status} from all workers",
            otherwise=daemon.log,
        )


class WorkerTests(RevocationsCase):
    """One gateway with several workers."""

    def test_at_once_T42(self) -> None:
        """Once a revocation is acknowledged, every worker refuses what it had cached."""
        daemon = self.start()
        for number in range(10):
            mine = token(jti=str(number))
            self.assertEqual(self.statuses(daemon, mine), {200})
            self.revoke(daemon, token_id=str(number))
            self.assertEqual(self.statuses(daemon, mine), {401})

    def test_killed_restarted_reloaded_T42(self) -> None:
        """A revocation outlives killed workers, a reload, and a restart of the whole service."""
        daemon = self.start()
        self.assertEqual(self.statuses(daemon, token()), {200})
        self.revoke(daemon, realm="here", username="alice", issued_before="now")
        for victim in [*workers(daemon)]:
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: victim not in workers(daemon), "gone")  # type: ignore[misc] # mypy cannot infer the type
            self.complete(daemon)
            self.assertEqual(self.statuses(daemon, token()), {401})
        self.reload(daemon)
        self.assertEqual(self.statuses(daemon, token()), {401})
        daemon.stop()
        self.complete(daemon.start())
        self.assertEqual(self.statuses(daemon, token()), {401})
        self.assertEqual(self.statuses(daemon, ALICE), {200})

    def test_logout_T42(self) -> None:
        """After a logout all workers refuse the token."""
        daemon = self.start()
        self.assertEqual(self.statuses(daemon, token()), {200})
        self.assertEqual(self.logout(daemon, token()), 204)
        self.assertEqual(self.statuses(daemon, token()), {401})


class SeveralTests(RevocationsCase):
    """Two gateways, and the command line, on one file."""

    def test_other_gateway_and_commands_T42(self) -> None:
        """What one gateway or a command revokes, or withdraws, counts at the other gateway."""
        one, other = self.start(), self.start(server={"workers": 1})
        self.assertEqual(self.statuses(other, token()), {200})
        self.revoke(one, token_id="alice-1")
        self.becomes(other, token(), 401)
        [listed] = json.loads(self.command(one, "revocations", "list", "--json"))["revocations"]
        self.assertEqual(listed["token_id"], "alice-1")
        self.command(one, "revocations", "remove", listed["id"])
        for each in (one, other):
            self.becomes(each, token(), 200)
        self.command(one, "revoke", "--realm", "here", "--username", "alice")
        for each in (one, other):
            self.becomes(each, ALICE, 401)
        self.assertIn("alice in realm here", self.command(one, "revocations", "list"))

    def complete(self, daemon: Daemon) -> Daemon:
        """Wait for all workers, if there are several."""
        if '"workers": 1' in daemon.file.read_text():
            return daemon
        return super().complete(daemon)
