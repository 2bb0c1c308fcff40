"""A gateway in memory whose clients have tokens that can be revoked."""

from __future__ import annotations

from typing import Any

import jwt
from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from authotron.daemon.live_records import LiveRecords
from authotron.model.errors import Unavailable
from authotron.model.records import Changes, Record
from authotron.net.world import World
from authotron.stores.memory import MemoryStore
from authotron.testing.worlds import NOW, run_at_once
from tests.web.conversations import Answer, InMemoryGateway, basic

SECRET = "a-secret-of-an-issuer-with-32-bytes-or-more"
USERS = [
    {"username": "alice", "password": "wonder", "roles": ["reader"]},
    {"username": "root", "password": "toor", "roles": ["keeper"]},
]
STAFF = {"type": "plain", "name": "staff", "realm": "internal", "users": USERS}
SSO = {"type": "jwt", "name": "sso", "realm": "internal", "secret": SECRET, "algorithms": ["HS256"]}
ALICE, ROOT = basic("alice", "wonder"), basic("root", "toor")


def bearer(username: str = "alice", **claims: Any) -> str:
    """Return a bearer token of a user; a claim that is None is left out."""
    given = {"sub": username, "jti": f"{username}-1", "iat": NOW - 10, "exp": NOW + 3_600, **claims}
    kept = {name: value for name, value in given.items() if value is not None}
    return f"Bearer {jwt.encode(kept, SECRET, 'HS256')}"


@define(eq=False)
class Unreliable(MemoryStore):
    """A token store in memory whose records a test can make unreachable."""

    is_down: bool = field(default=False, init=False)

    def _check(self) -> None:
        if self.is_down:
            raise Unavailable("the cable is cut")

    async def changes(self, after: str | None) -> Changes:
        self._check()
        return await super().changes(after)

    async def add_record(self, record: Record, now: float) -> bool:
        self._check()
        return await super().add_record(record, now)


class RevokingCase(SynchronousTestCase):
    """A gateway that follows the revocations in a token store in memory."""

    def setUp(self) -> None:
        self.store = Unreliable()
        self.start()

    def start(self, **over: Any) -> None:
        self.gateway = InMemoryGateway(
            {
                "providers": [STAFF, SSO],
                "store": {"type": "memory", "admins": {"internal": ["keeper"]}},
                "revocation": {},
                **over,
            }
        )
        self.serving = self.gateway.serving
        self.use_store()
        self.records = LiveRecords(self.serving, World(self.gateway.clock, run_at_once))
        self.records.start()
        self.addCleanup(self.records.stop)

    def use_store(self) -> None:
        """Let the gateway use the store of the test."""
        assert self.serving.gateway.tokens is not None
        self.serving.gateway.tokens.store.backend = self.store

    def pass_(self, seconds: float) -> None:
        """Let some seconds pass, in steps in which a gateway looks at its token store."""
        for _ in range(int(seconds * 2)):
            self.gateway.clock.advance(0.5)

    def ask(self, credential: str) -> int:
        """Ask on the site and on the fast path, which must answer alike; return the status."""
        entrances: list[Any] = [self.gateway.public, *[self.gateway.entrance] * 3]
        found = {
            self.gateway.ask("GET /authenticate", site, Authorization=credential).status
            for site in entrances
        }
        [status] = found
        return status

    def revoke(self, by: str = ROOT, **content: Any) -> Answer:
        return self.gateway.post("/revocations", content, Authorization=by)

    def made(self, by: str = ROOT, **content: Any) -> str:
        """Make a revocation, and return its id."""
        answer = self.revoke(by, **content)
        self.assertEqual(answer.status, 201, answer.body)
        return str(answer.json()["id"])

    def ready(self) -> Any:
        answer = self.gateway.ask("GET /ready", self.gateway.operations)
        return {"status": answer.status, **answer.json().get("revocations", {})}
