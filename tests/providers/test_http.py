"""The http provider, which asks an operator's own service."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.model.authentication import Authentication, Login
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Credential, Identity
from authotron.plugin.interfaces import IProvider
from authotron.providers import http
from authotron.testing.contracts import ProviderContract
from authotron.testing.remotes import Action, FakeRemote, ReceivedRequest, Respond, start
from authotron.testing.worlds import NOW, clock_at, world

TESS: dict[str, Any] = {
    "username": "tess",
    "roles": ["reader"],
    "attributes": {"mail": "t@x"},
    "scopes": {"files": ["read"]},
    "expires": NOW + 3600,
}


def knows_one(asked: ReceivedRequest) -> Action:
    good = {"realm": "here", "scheme": "bearer", "token": "good"}
    return Respond(TESS) if asked.json == good else Respond({"error": "no"}, 401)


def provider(remote: FakeRemote, **given: Any) -> IProvider:
    part = {"type": "http", "name": "it", "realm": "here", "url": "https://accounts.example/who"}
    return http.make(section.read(http.Config, {**part, **given}), world(clock_at(NOW), remote))


class HttpContractTests(ProviderContract, SynchronousTestCase):
    """The http provider is a provider."""

    def provider(self) -> IProvider:
        return provider(FakeRemote(knows_one), token="secret")


class HttpTests(SynchronousTestCase):
    """Rules of the http provider."""

    def ask(self, answer: Any, status: int = 200, **given: Any) -> Any:
        self.remote = FakeRemote(lambda _: Respond(answer, status))
        return start(provider(self.remote, **given).authenticate(Credential("bearer", "good")))

    def test_response(self) -> None:
        """All members of a response are used."""
        found = self.successResultOf(self.ask({**TESS, "more": 1}))
        self.assertEqual(
            found,
            Authentication(
                Identity("here", "tess", ("reader",), {"mail": "t@x"}, {"files": ("read",)}),
                expires=NOW + 3600,
                fresh_until=NOW + 60,
            ),
        )

    def test_login(self) -> None:
        """A service may state how strong the login of the user was, and when it was."""
        for more, expected in (
            ({"acr": "gold", "auth_time": NOW - 60}, Login("gold", NOW - 60)),
            ({"acr": "gold"}, Login("gold")),
            ({"acr": 1, "auth_time": "now"}, None),
            ({}, None),
        ):
            found = self.successResultOf(self.ask({**TESS, **more}))
            self.assertEqual(found.login, expected)

    def test_password(self) -> None:
        """With `scheme: basic` the service gets name, password and the gateway's token."""
        self.remote = FakeRemote(lambda _: Respond({"username": "tess"}))
        judge = provider(self.remote, scheme="basic", token="key")
        value = b64encode(b"tess:pass:word").decode()
        self.successResultOf(start(judge.authenticate(Credential("basic", value))))
        [asked] = self.remote.requests
        self.assertEqual(asked.json["username"], "tess")
        self.assertEqual(asked.json["password"], "pass:word")
        self.assertEqual(asked.headers["authorization"], "Bearer key")

    def test_empty_password_T24(self) -> None:
        """An empty password is rejected without asking the service."""
        self.remote = FakeRemote(lambda _: Respond({"username": "tess"}))
        judge = provider(self.remote, scheme="basic")
        value = b64encode(b"tess:").decode()
        self.failureResultOf(start(judge.authenticate(Credential("basic", value))), Rejected)
        self.assertEqual(self.remote.requests, [])

    def test_same_wrong_password_S_LOCK(self) -> None:
        """A rejected user name and password are sent to the service once a minute."""
        clock, remote = clock_at(NOW), FakeRemote(lambda _: Respond({}, 401))
        part = {"type": "http", "name": "it", "realm": "here", "url": "https://accounts.example/"}
        config = section.read(http.Config, {**part, "scheme": "basic"})
        judge = http.make(config, world(clock, remote))
        for value in (b"tess:guess", b"tess:guess", b"tess:other", b"Tess:guess", b"tess:guess"):
            credential = Credential("basic", b64encode(value).decode())
            self.failureResultOf(start(judge.authenticate(credential)), Rejected)
            clock.advance(10)
        self.assertEqual(len(remote.requests), 3)
        clock.advance(60)
        self.failureResultOf(start(judge.authenticate(credential)), Rejected)
        self.assertEqual(len(remote.requests), 4)

    def test_tokens_S_LOCK(self) -> None:
        """A rejected token is sent to the service again, as it locks out no user."""
        self.remote = FakeRemote(lambda _: Respond({}, 401))
        judge = provider(self.remote)
        for _ in range(2):
            self.failureResultOf(start(judge.authenticate(Credential("bearer", "x"))), Rejected)
        self.assertEqual(len(self.remote.requests), 2)

    def test_within_leeway_S_LEEWAY(self) -> None:
        """A credential that expired within the leeway ends with the leeway."""
        for expires in (NOW, NOW - 59):
            found = self.successResultOf(self.ask({**TESS, "expires": expires}))
            self.assertEqual((found.expires, found.expires_at()), (expires + 60, expires + 60))
        self.failureResultOf(self.ask({**TESS, "expires": NOW}, leeway=0), Rejected)

    def test_refused(self) -> None:
        """The statuses 401 and 403 reject a credential, and so does an expiry in the past."""
        for status in (401, 403):
            self.failureResultOf(self.ask({}, status), Rejected)
        self.failureResultOf(self.ask({**TESS, "expires": NOW - 60}), Rejected)

    def test_odd_T68(self) -> None:
        """A response that does not keep to the contract is an outage."""
        for change in (
            {"username": None},
            {"username": ""},
            {"username": 5},
            {"expires": "soon"},
            {"expires": -1},
            {"expires": True},
            {"exp": "soon"},
        ):
            self.failureResultOf(self.ask({**TESS, **change}), Unavailable)

    def test_shapes_H_CLAIM(self) -> None:
        """Roles, attributes and scopes of another shape are read or left out, never an outage."""
        shapes: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"roles": "admin"}, {"roles": ("admin",)}),
            ({"roles": ["a", 5]}, {"roles": ("a",)}),
            ({"roles": {"admin": {}}}, {"roles": ("admin",)}),
            ({"roles": None}, {"roles": ()}),
            ({"attributes": {"a": 5, "b": [1], "c": None}}, {"attributes": {"a": "5", "b": "[1]"}}),
            ({"attributes": "x"}, {"attributes": {}}),
            (
                {"scopes": {"a": "b c", "d": ["e"], "f": 5}},
                {"scopes": {"a": ("b", "c"), "d": ("e",), "f": ()}},
            ),
            ({"scopes": ["a", "b"]}, {"scopes": {"it": ("a", "b")}}),
            ({"scopes": None, "scope": "a b"}, {"scopes": {"it": ("a", "b")}}),
            ({"scopes": 5}, {"scopes": {}}),
        ]
        for change, expected in shapes:
            with self.subTest(str(change)):
                identity = self.successResultOf(self.ask({**TESS, **change})).identity
                found = {name: getattr(identity, name) for name in expected}
                self.assertEqual(found, expected)

    def test_exp_H_CLAIM(self) -> None:
        """C{exp} limits the credential as C{expires} does; the earlier one counts."""
        for answer, expires in (
            ({"exp": NOW + 60}, NOW + 60),
            ({"exp": NOW + 60, "expires": NOW + 30}, NOW + 30),
            ({"exp": None, "expires": None}, None),
        ):
            found = self.successResultOf(self.ask({"username": "tess", **answer}))
            self.assertEqual(found.expires, expires)
        self.failureResultOf(self.ask({**TESS, "exp": NOW - 60}), Rejected)

    def test_outage_T70(self) -> None:
        """Any other status is an outage."""
        for status in (302, 400, 404, 500):
            self.failureResultOf(self.ask(TESS, status), Unavailable)
