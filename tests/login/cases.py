"""What the tests of logins share: a gateway in memory, and a folder for tokens."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.login import kept_login
from authotron.login.logins import Logins
from authotron.login.private_folder import PrivateFolder
from authotron.login.profile import Profile
from authotron.login.remote_gateway import Presented, RemoteGateway
from authotron.testing.remotes import (
    Action,
    FakeRemote,
    ReceivedRequest,
    Respond,
    start,
    web_client,
)
from authotron.testing.worlds import NOW, clock_at

URL = "https://gate.example"
HOUR = 3600.0
ALICE = Presented(basic=("alice", "wonder"))


def jwt(**claims: Any) -> str:
    """Return a text in the form of a JWT."""
    payload = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def answer(number: int, at: float = NOW, lifetime: float = HOUR, **more: Any) -> dict[str, Any]:
    """Return the answer of a gateway to an exchange: its token of a number."""
    return {
        "token": jwt(jti=f"token-{number}", iat=at, exp=at + lifetime),
        "token_type": "Bearer",
        "id": f"token-{number}",
        "expires": at + lifetime,
        "identity": {"username": "alice", "realm": "here"},
        **more,
    }


class LoginCase(SynchronousTestCase):
    """
    A login at a gateway in memory, which answers by a script.

    @ivar answers: the next answers of the gateway, by path.
    """

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.path = Path(self.mktemp()).absolute() / "authotron"
        self.answers: dict[str, list[Action | Callable[[], Action]]] = {}
        self.warnings: list[str] = []
        self.remote = FakeRemote(self.play)

    def play(self, request: ReceivedRequest) -> Action:
        path = request.address.partition("/")[2]
        waiting = self.answers.get(path)
        if not waiting:
            return Respond({"error": "Not found"}, 404)
        found = waiting.pop(0)
        return found if isinstance(found, Respond) else found()  # type: ignore[operator] # a function

    def expect(self, path: str, *answers: Any) -> None:
        """Let the gateway answer the next requests for a path."""
        played = [Respond(each) if isinstance(each, dict) else each for each in answers]
        self.answers.setdefault(path, []).extend(played)

    def logins(self, **keys: Any) -> Logins:
        """Return the login of one process of the user."""
        profile = section.read(Profile, {"gateway": URL, **keys})
        folder = PrivateFolder(self.path, os.geteuid())
        self.addCleanup(folder.close)
        remote = RemoteGateway(URL, web_client(self.remote, self.clock), self.clock)
        name = kept_login.name_of(URL, "default")
        return Logins(profile, remote, folder, name, self.clock, self.warnings.append)

    def done(self, coroutine: Any) -> Any:
        """Return the result of a coroutine that need not wait."""
        return self.successResultOf(start(coroutine))

    def begun(self, coroutine: Any) -> Deferred[Any]:
        return start(coroutine)

    def asked(self, path: str) -> list[ReceivedRequest]:
        """Return the requests for a path that the gateway has received."""
        return [each for each in self.remote.requests if each.address.endswith(f"/{path}")]
