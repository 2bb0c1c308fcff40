"""The plain provider."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import bcrypt
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.limits.hash_queue import WAITING
from authotron.model.errors import ConfigError, Rejected, Unavailable
from authotron.model.identity import Credential, Identity
from authotron.net.world import World
from authotron.plugin import passwords
from authotron.plugin.interfaces import IProvider
from authotron.providers import plain
from authotron.testing.contracts import ProviderContract
from authotron.testing.worlds import NOW, as_deferred, clock_at, world
from tests.passwords import cheap_hash


def basic(username: str, password: str) -> Credential:
    return Credential("basic", b64encode(f"{username}:{password}".encode()).decode())


def config(*users: dict[str, Any]) -> plain.Config:
    given = {"type": "plain", "name": "it", "realm": "here", "users": list(users)}
    return section.read(plain.Config, given)


def provider(*users: dict[str, Any]) -> IProvider:
    return plain.make(config(*users), world())


class PlainContractTests(ProviderContract, SynchronousTestCase):
    """The plain provider is a provider."""

    def provider(self) -> IProvider:
        return provider({"username": "alice", "password": "secret"})

    def good(self) -> Credential:
        return basic("alice", "secret")

    def bad(self) -> Credential:
        return basic("alice", "guess")


class HashedContractTests(PlainContractTests):
    """The plain provider with hashed passwords is a provider."""

    def provider(self) -> IProvider:
        return provider({"username": "alice", "password_hash": cheap_hash("secret")})


class ShareTests(SynchronousTestCase):
    """Shares of the threads that hash passwords."""

    def test_client_T84d(self) -> None:
        """Each client has a share in all providers together, by the address of its credential."""
        working: list[Deferred[Any]] = []

        def thread(work: Any, /) -> Deferred[Any]:
            working.append(Deferred().addCallback(lambda _: work()))
            return working[-1]

        crowded = World(clock_at(NOW), thread)
        user = {"username": "alice", "password_hash": cheap_hash("secret")}
        one, other = (plain.make(config(user), crowded) for _ in range(2))

        def guess(judge: IProvider, number: int) -> Deferred[Any]:
            credential = evolve(basic(f"user{number}", "x"), client="192.0.2.1")
            return as_deferred(judge.authenticate, credential).addErrback(
                lambda failure: failure.type
            )

        guesses = [guess(one if number % 2 else other, number) for number in range(WAITING + 35)]
        good = as_deferred(one.authenticate, evolve(basic("alice", "secret"), client="192.0.2.2"))
        refused = [each for each in guesses if each.called]
        self.assertEqual({self.successResultOf(each) for each in refused}, {Unavailable})
        self.assertEqual(len(refused), 35 - len(working) + 1)
        while not good.called:
            working.pop(0).callback(None)
        self.assertEqual(self.successResultOf(good).identity.username, "alice")
        self.assertLess(sum(each.called for each in guesses) - len(refused), 9)


class PlainTests(SynchronousTestCase):
    """Rules of the plain provider."""

    def ask(self, judge: IProvider, credential: Credential) -> Identity:
        return self.successResultOf(as_deferred(judge.authenticate, credential)).identity

    def refused(self, judge: IProvider, credential: Credential) -> None:
        self.failureResultOf(as_deferred(judge.authenticate, credential), Rejected)

    def test_last_of_two(self) -> None:
        """A user who is listed twice may use either password, and gets the roles of that entry."""
        judge = provider(
            {"username": "alice", "password": "one", "roles": ["first"]},
            {"username": "alice", "password": "two", "roles": ["second"]},
        )
        self.assertEqual(self.ask(judge, basic("alice", "one")).roles, ("first",))
        self.assertEqual(self.ask(judge, basic("alice", "two")).roles, ("second",))

    def test_bcrypt(self) -> None:
        """A bcrypt hash is verified."""
        hashed = "$2b$04$zVHmKQtGGQob.b/Nc7l9NO8UlrYcW05FiuCj/SxsFO/ZtiN9.mNzy"
        judge = provider({"username": "alice", "password_hash": hashed})
        self.refused(judge, basic("alice", "wonder"))

    def test_clear_beside_hash(self) -> None:
        """A user with a plain password may be listed beside one with a hash."""
        judge = provider(
            {"username": "alice", "password_hash": cheap_hash("one")},
            {"username": "bob", "password": "two"},
        )
        self.assertEqual(self.ask(judge, basic("bob", "two")).username, "bob")
        self.refused(judge, basic("bob", "one"))
        self.refused(judge, basic("carol", "nobody's password"))

    def test_unknown_user_T79(self) -> None:
        """An unknown user costs the same kind of hash as a known one."""
        for hashed in (
            cheap_hash("x"),
            bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode(),
        ):
            verified: list[Any] = []
            self.patch(passwords, "_fits", lambda *given, v=verified: v.append(given))
            judge = provider({"username": "alice", "password_hash": hashed})
            self.refused(judge, basic("alice", "guess"))
            self.refused(judge, basic("nobody", "guess"))
            self.assertEqual(verified, [(hashed, "guess")] * 2)

    def test_kinds_of_hashes_T79(self) -> None:
        """If hashes differ in cost, an unknown user always costs as much as some known user."""
        cheap, dear = (bcrypt.hashpw(b"x", bcrypt.gensalt(n)).decode() for n in (4, 5))
        users = (
            {"username": "alice", "password_hash": cheap},
            {"username": "bob", "password_hash": dear},
            {"username": "carol", "password_hash": cheap},
            {"username": "carol", "password_hash": dear},
            {"username": "dave", "password": "clear"},
        )
        verified: list[str] = []
        self.patch(passwords, "_fits", lambda hashed, _: verified.append(hashed))

        def cost(username: str) -> tuple[str, ...]:
            verified.clear()
            self.refused(provider(*users), basic(username, "guess"))
            return tuple(verified)

        names = [f"unknown{number}" for number in range(60)]
        costs = [cost(name) for name in names]
        self.assertEqual(set(costs), {cost("alice"), cost("bob"), cost("carol")})
        self.assertEqual([cost(name) for name in names], costs)
        self.assertIn(cost("dave"), costs)

    def test_password_of_another_T79(self) -> None:
        """An unknown user with the password of a known user costs a hash each time."""
        verified: list[str] = []

        def fits(hashed: str, _: str) -> bool:
            verified.append(hashed)
            return True

        self.patch(passwords, "_fits", fits)
        judge = provider({"username": "alice", "password_hash": cheap_hash("x")})
        for count in (1, 2, 3):
            self.refused(judge, basic("nobody", "x"))
            self.assertEqual(len(verified), count)

    def test_password_of_another_user(self) -> None:
        """An unknown user with the password of another user is rejected."""
        judge = provider({"username": "alice", "password_hash": cheap_hash("x")})
        self.assertEqual(self.ask(judge, basic("alice", "x")).username, "alice")
        for _ in range(2):
            self.refused(judge, basic("nobody", "x"))

    def test_empty_password(self) -> None:
        """An empty password gets a warning."""
        self.assertIn("'alice'", config({"username": "alice", "password": ""}).warnings()[0])

    def test_empty_role(self) -> None:
        """An empty role is left out with a warning; the configuration is accepted."""
        warnings = config({"username": "alice", "password": "x", "roles": ["", "a"]}).warnings()
        self.assertEqual(warnings, ("role '' of user 'alice' is left out: the role is empty",))

    def test_neither(self) -> None:
        """A user without password and hash is a mistake, reported with its path."""
        problem = self.assertRaises(ConfigError, config, {"username": "alice"}).problems[0]
        self.assertEqual(problem.path, "users[0]")
        self.assertIn("password", problem.message)

    def test_costly_hash_T74(self) -> None:
        """A hash that takes too long to verify is a mistake."""
        costly = "$argon2id$v=19$m=65536,t=99,p=4$c29tZXNhbHQ$uyM0IH5sUZC/Vb0lVd9Nyw"
        given = {"username": "alice", "password_hash": costly}
        problem = self.assertRaises(ConfigError, config, given).problems[0]
        self.assertEqual(problem.path, "users[0].password_hash")
        self.assertIn("costs too much", problem.message)
