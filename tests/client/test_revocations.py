"""Open connections of users who are revoked, and JWTs that no longer count."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.client import InvalidToken, Unavailable, User, waiting
from authotron.client.event_parser import EventParser, ServerEvent, TooLong
from authotron.client.events import EventListener
from authotron.client.revocations import Revocations, concerns
from authotron.client.status_lists import StatusLists
from authotron.client.testing import FakeGateway

ALICE, BOB = User("main", "alice"), User("main", "bob")


def revocation(**content: Any) -> ServerEvent:
    return ServerEvent("revocation", json.dumps({"id": "r-1", "created": 1000, **content}))


class ConcernsTests(SynchronousTestCase):
    """Whether a revocation concerns the user of a JWT."""

    def verdict(self, minted: float = 900, now: float = 1001, **content: Any) -> bool | None:
        user = User("main", "alice", claims={"iat": minted, "jti": "j-1", "parent": "p-1"})
        return concerns({"created": 1000, **content}, user, now)

    def test_owner(self) -> None:
        """A revocation of a user concerns this user only."""
        self.assertIs(self.verdict(realm="main", username="alice"), True)
        for realm, username in (("main", "bob"), ("other", "alice")):
            self.assertIs(self.verdict(realm=realm, username=username), False)

    def test_later_jwt(self) -> None:
        """A JWT that was minted after the revocation is not concerned."""
        self.assertIs(self.verdict(1004, realm="main", username="alice"), True)
        self.assertIs(self.verdict(1006, realm="main", username="alice"), False)
        self.assertIs(self.verdict(1006, claims="x"), False)

    def test_times(self) -> None:
        """A revocation counts from its beginning to its end."""
        owner: dict[str, Any] = {"realm": "main", "username": "alice"}
        self.assertIs(self.verdict(**owner, active_from=1002), False)
        self.assertIs(self.verdict(now=1003, minted=1001, **owner, active_from=1002), True)
        self.assertIs(self.verdict(**owner, until=1001), False)

    def test_token(self) -> None:
        """A JWT names its own id and that of its parent, but not every token it came from."""
        self.assertIs(self.verdict(token="j-1"), True)
        self.assertIs(self.verdict(token="p-1", realm="main", username="alice"), True)
        self.assertIs(self.verdict(token="t-9", realm="main", username="alice"), None)
        self.assertIs(self.verdict(token="t-9", realm="main", username="bob"), False)

    def test_expression(self) -> None:
        """Whom an expression concerns only the gateway can tell."""
        self.assertIs(self.verdict(claims='"x" in claims'), None)


class WatchTests(SynchronousTestCase):
    """When the connection of a user is ended."""

    def setUp(self) -> None:
        self.ended: list[str] = []
        self.revocations = self.make()

    def make(self, **options: Any) -> Revocations:
        return Revocations(clock=lambda: 1001.0, **options)

    def watch(self, user: User, revocations: Revocations | None = None) -> Any:
        name = user.username
        return (revocations or self.revocations).watch(user, lambda: self.ended.append(name))

    def test_revoked(self) -> None:
        """The connections of the revoked user are ended, once, and no others."""
        for user in (ALICE, BOB, ALICE):
            self.watch(user)
        self.revocations.apply(revocation(realm="main", username="alice"))
        self.assertEqual(self.ended, ["alice", "alice"])
        self.revocations.apply(revocation(realm="main", username="alice"))
        self.assertEqual(self.ended, ["alice", "alice"])

    def test_closed(self) -> None:
        """A connection that has closed is not watched any more."""
        self.watch(ALICE).end()
        self.revocations.apply(revocation(realm="main", username="alice"))
        self.assertEqual(self.ended, [])

    def test_revoked_before(self) -> None:
        """A connection of a user who is revoked already is ended at once."""
        self.revocations.apply(revocation(realm="main", username="alice"))
        self.watch(ALICE)
        self.assertEqual(self.ended, ["alice"])

    def test_unsure(self) -> None:
        """If only the gateway can tell, the connection is ended, or kept if the service says so."""
        self.watch(ALICE)
        self.revocations.apply(revocation(claims="x"))
        self.assertEqual(self.ended, ["alice"])
        keeping = self.make(when_unsure="keep")
        self.watch(BOB, keeping)
        keeping.apply(revocation(claims="x"))
        self.assertEqual(self.ended, ["alice"])
        self.assertRaises(ValueError, self.make, when_unsure="ask")

    def test_withdrawn(self) -> None:
        """A withdrawn revocation, and one that the gateway no longer has, concern no user."""
        self.revocations.apply(revocation(realm="main", username="alice"))
        self.revocations.apply(ServerEvent("revocation-withdrawn", '{"id": "r-1"}'))
        self.assertFalse(self.revocations.is_revoked(ALICE))
        self.revocations.apply(revocation(realm="main", username="alice"))
        self.revocations.apply(ServerEvent("reset", "{}"))
        self.assertTrue(self.revocations.is_revoked(ALICE))
        self.revocations.apply(ServerEvent("ready", "{}"))
        self.assertFalse(self.revocations.is_revoked(ALICE))

    def test_state_again(self) -> None:
        """The state after a new connection ends nothing that it does not concern anew."""
        self.revocations.apply(revocation(realm="main", username="alice"))
        for event in (ServerEvent("reset", "{}"), revocation(realm="main", username="alice")):
            self.revocations.apply(event)
        self.revocations.apply(ServerEvent("ready", "{}"))
        self.assertTrue(self.revocations.is_revoked(ALICE))
        self.assertFalse(self.revocations.is_revoked(BOB))

    def test_malformed(self) -> None:
        """An event that is not understood is ignored."""
        self.watch(ALICE)
        for data in ("", "[]", "{}", '{"id": 5}', '{"id": "x", "created": "now"}', "[" * 9999):
            for name in ("revocation", "revocation-withdrawn", "unknown"):
                self.revocations.apply(ServerEvent(name, data))
        self.assertEqual(self.ended, [])

    def test_thread(self) -> None:
        """The function is called where the service wants it, and its error stops nothing."""
        planned: list[Callable[[], object]] = []
        elsewhere = self.make(call=planned.append)
        self.watch(ALICE, elsewhere)
        elsewhere.apply(revocation(realm="main", username="alice"))
        self.assertEqual((self.ended, len(planned)), ([], 1))
        self.revocations.watch(ALICE, lambda: 1 / 0)
        self.watch(ALICE)
        self.revocations.apply(revocation(realm="main", username="alice"))
        self.assertEqual(self.ended, ["alice"])


class ListenerTests(SynchronousTestCase):
    """How a service listens to the gateway."""

    def test_events(self) -> None:
        """The listener passes on the present state, and what happens later."""
        gateway, seen = FakeGateway(), list[str]()
        gateway.add_user(ALICE, "wonder")
        gateway.revoke(ALICE)

        def see(event: ServerEvent) -> None:
            seen.append(event.name)
            if event.name == "ready":
                gateway.revoke(BOB)
                gateway.events.close()

        gateway.listener(see).listen()
        self.assertEqual(seen, ["reset", "revocation", "ready", "revocation"])

    def test_resume(self) -> None:
        """After a lost connection the listener names the last event that it has seen."""
        asked: list[str] = []
        pieces = [b"event: x\ndata: 1\nid: log-1\n\nevent: y\nda", b""]

        def connect(last: str) -> Any:
            asked.append(last)
            return iter(pieces)

        listener = EventListener("https://gate", lambda: "", lambda _: None, connect=connect)
        listener.listen()
        pieces[:] = [b": heartbeat\n\n"]
        listener.listen()
        listener.listen()
        self.assertEqual(asked, ["", "log-1", "log-1"])

    def test_outage(self) -> None:
        """While the gateway does not answer the listener tries again, less and less often."""
        gateway = FakeGateway()
        gateway.fail_on("events", times=1)
        listener = gateway.listener(lambda _: None)
        self.assertRaises(Unavailable, listener.listen)
        self.assertRaises(ValueError, EventListener, "ftp://x", lambda: "", lambda _: None)

    def test_endless_line(self) -> None:
        """A line without end is not kept in memory."""
        parser = EventParser()
        with self.assertRaises(TooLong):
            for _ in range(100):
                parser.feed(b"data: " + b"x" * 64 * 1024)
        parser = EventParser()
        with self.assertRaises(TooLong):
            for _ in range(100):
                parser.feed(b"data: " + b"x" * 64 * 1024 + b"\n")


class StatusListTests(SynchronousTestCase):
    """JWTs that are looked up in a status list."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.gateway = FakeGateway(status_list=True, clock=lambda: self.now)
        self.gateway.add_user(ALICE, "wonder")
        self.verifier = self.gateway.verifier()

    def test_revoked(self) -> None:
        """A revoked JWT is refused as soon as the list is fetched anew, and no other JWT is."""
        token, other = self.gateway.mint(ALICE), self.gateway.mint(BOB)
        self.assertEqual(self.verifier.verify(token), ALICE)
        self.gateway.revoke(ALICE)
        self.assertEqual(self.verifier.verify(token), ALICE)
        self.now += 60
        error = self.assertRaises(InvalidToken, self.verifier.verify, token)
        self.assertEqual((error.code, error.status), ("revoked", 401))
        self.assertEqual(self.verifier.verify(other), BOB)
        self.assertEqual(self.gateway.count("/statuslists/fake"), 2)

    def test_forget(self) -> None:
        """A service that listens to events looks at once."""
        token = self.gateway.mint(ALICE)
        self.verifier.verify(token)
        lists = self.verifier.lists
        assert lists is not None
        self.gateway.events.on_event(lambda _: lists.forget())
        self.gateway.revoke(ALICE)
        self.assertRaises(InvalidToken, self.verifier.verify, token)

    def test_every_way_to_wait(self) -> None:
        """The list is looked up however the service waits."""
        token = self.gateway.mint(ALICE)
        self.gateway.revoke(ALICE)
        self.assertRaises(InvalidToken, asyncio.run, self.verifier.verify_async(token))
        found: Deferred[User] = self.verifier.verify_deferred(token)
        self.failureResultOf(found, InvalidToken)

    def test_outage(self) -> None:
        """A list that cannot be fetched is used until it expires, and then there is no verdict."""
        token = self.gateway.mint(ALICE)
        self.verifier.verify(token)
        self.gateway.fail_on("status_list")
        self.now += 119
        self.verifier.verify(token)
        self.now += 1
        self.assertRaises(Unavailable, self.verifier.verify, token)

    def test_other_place_S_STATUS(self) -> None:
        """A JWT that refers to another place than the lists of the gateway is refused."""
        statuses: tuple[Any, ...] = (
            {"status_list": {"idx": 1, "uri": "https://evil.example/statuslists/1"}},
            {"status_list": {"idx": -1, "uri": "https://gateway.test/statuslists/fake"}},
            {"status_list": {"idx": "1", "uri": "https://gateway.test/statuslists/fake"}},
            {"status_list": {"idx": 10**9, "uri": "https://gateway.test/statuslists/fake"}},
            {"status_list": []}, {"other": {}}, [], "x", 5,
        )  # fmt: skip
        for status in statuses:
            token = self.gateway.mint(ALICE, status=status)
            self.assertRaises(InvalidToken, self.verifier.verify, token)

    def test_without_reference(self) -> None:
        """A JWT without the claim is accepted; a verifier without lists looks up none."""
        self.verifier.verify(self.gateway.mint(ALICE, status=None))
        self.gateway.verifier(status_lists=None).verify(self.gateway.mint(ALICE))
        self.assertEqual(self.gateway.count("/statuslists/fake"), 0)

    def test_list_is_no_user_S_STATUS(self) -> None:
        """The JWT of a list, and one whose header was seen with a list, are no JWTs of a user."""
        claims = {"realm": "main", "username": "alice", "iss": self.gateway.issuer, "exp": 9999}
        self.verifier.verify(self.gateway.mint(ALICE))
        token = self.gateway.key.sign(claims, typ="statuslist+jwt")
        self.assertRaises(InvalidToken, self.verifier.verify, token)

    def fetched(self, **changes: Any) -> None:
        uri = "https://gate/statuslists/1"
        claims: dict[str, Any] = {
            "sub": uri, "iat": 1000, "exp": 1100, "ttl": 10,
            "status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ"},
        }  # fmt: skip
        lists = StatusLists(
            "https://gate/statuslists", lambda _: {**claims, **changes}, clock=lambda: 1000.0
        )
        reference = {"status": {"status_list": {"idx": 1, "uri": uri}}}
        waiting.run(lists.check(reference, waiting.blocking))

    def test_malformed_list_S_STATUS(self) -> None:
        """A list that is malformed, expired or another one is not used."""
        self.fetched()
        malformed: tuple[dict[str, Any], ...] = (
            {"sub": "https://gate/statuslists/2"}, {"exp": 1000}, {"exp": "x"}, {"iat": None},
            {"status_list": {"bits": 3, "lst": "eNrbuRgAAhcBXQ"}}, {"status_list": {}},
            {"status_list": {"bits": 1, "lst": "eNrbuRgA"}}, {"status_list": []}, {"ttl": "x"},
            {"status_list": {"bits": 1, "lst": "x"}}, {"status_list": {"bits": 1, "lst": 5}},
        )  # fmt: skip
        for changes in malformed:
            self.assertRaises(Unavailable, self.fetched, **changes)
