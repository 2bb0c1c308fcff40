"""A gateway with policies that its clients ask what identities may do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.web.conversations import Answer, InMemoryGateway, basic

PDP = basic("pdp", "point")
BOB = basic("bob", "builder")
USERS: list[dict[str, Any]] = [
    {"username": "alice", "password": "wonder", "roles": ["ops", "reader"]},
    {"username": "bob", "password": "builder", "roles": ["reader"]},
    {"username": "pdp", "password": "point", "roles": ["asker"]},
]
STAFF: dict[str, Any] = {"type": "plain", "name": "staff", "realm": "internal", "users": USERS}
RULES: tuple[dict[str, Any], ...] = (
    {"name": "read", "subject": [["role=reader"]], "permissions": ["/data/**:GET,HEAD"]},
    {"name": "admin", "subject": [["role=ops"]], "permissions": ["/admin/**:*", "dog:walk:rex"]},
    {"name": "secret", "subject": [["realm=internal"]], "permissions": ["-/data/secret/**:*"]},
    {
        "name": "inside",
        "subject": [["role=reader"]],
        "permissions": ["/inside:GET"],
        "networks": ["10.0.0.0/8"],
    },
    {
        "name": "archive",
        "namespace": "/archive",
        "subject": [["role=reader"]],
        "permissions": ["/old:GET"],
    },
    {
        "name": "host",
        "subject": [["role=reader"]],
        "permissions": ["/by-host:GET"],
        "hosts": ["a.example.org"],
    },
)


class AskingCase(SynchronousTestCase):
    """A gateway with policies, an asker C{pdp}, and two users, whose log events are collected."""

    rules: Sequence[dict[str, Any]] = RULES

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.gateway = self.make()

    def make(self, **over: Any) -> InMemoryGateway:
        usual = {
            "providers": [STAFF],
            "store": {"type": "memory"},
            "policy": {"rules": [*self.rules], "askers": ["asker"]},
        }
        return InMemoryGateway({**usual, **over})

    def post(self, path: str, content: Any, who: str = PDP, **headers: str) -> Answer:
        fields = {"Authorization": who, **headers} if who else headers
        return self.gateway.post(path, content, **fields)

    def raw(self, path: str, body: bytes, who: str = PDP, kind: str = "application/json") -> Answer:
        """Return the answer to a request with any bytes as its body."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: gate\r\nAuthorization: {who}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        [answer] = self.gateway.say(head.encode() + body)
        return answer

    def token(self, who: str, **wish: Any) -> str:
        """Return a new API token of a user."""
        made: str = self.post("/tokens", wish, who).json()["token"]
        return made

    def named(self, event: str) -> list[LogEvent]:
        return [each for each in self.events if each.get("event") == event]
