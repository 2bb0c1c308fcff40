"""The http augmenter, which asks an operator's own service."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from authotron.augmenters import http
from authotron.config import check
from authotron.config.section import read
from authotron.daemon.compose import compose
from authotron.model.errors import Unavailable
from authotron.model.identity import Addition, Identity
from authotron.plugin.interfaces import IAugmenter
from authotron.telemetry.metrics import Metrics
from authotron.testing.contracts import AugmenterContract
from authotron.testing.remotes import Action, FakeRemote, Hang, ReceivedRequest, Respond, start
from authotron.testing.worlds import NOW, clock_at, world
from tests.config.cases import BASE

TESS = Identity("here", "tess", ("reader",), {"mail": "t@x"})


def knows_one(asked: ReceivedRequest) -> Action:
    if asked.json["username"] != "tess":
        return Respond({"error": "nobody"}, 404)
    return Respond({"roles": ["writer"], "attributes": {"floor": "3"}})


PART = {
    "type": "http",
    "name": "it",
    "realm": "here",
    "url": "https://accounts.example/has",
    "token": "key",
}


def augmenter(remote: FakeRemote, clock: Any = None, **over: Any) -> IAugmenter:
    section = read(http.Config, {**PART, **over})
    return http.make(section, world(clock, remote))


class HttpContractTests(AugmenterContract, SynchronousTestCase):
    """The http augmenter is an augmenter."""

    def augmenter(self) -> IAugmenter:
        return augmenter(FakeRemote(knows_one))


class PatienceTests(SynchronousTestCase):
    """The time limit of one augmenter."""

    def test_longer_T69(self) -> None:
        """The `timeout` of an augmenter counts instead of a shorter common limit."""
        clock = clock_at(NOW)
        remote = FakeRemote(lambda _: Hang())
        given = check.check({**BASE, "augmenters": [{**PART, "timeout": 20}]})
        [augmenter] = compose(given, world(clock, remote), Metrics()).authenticator.augmenters
        asked = start(augmenter.augment(TESS))
        clock.advance(18)
        self.assertNoResult(asked)
        clock.advance(2)
        self.failureResultOf(asked, Unavailable)


class HttpTests(SynchronousTestCase):
    """Rules of the http augmenter."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.play: Action | None = None
        self.remote = FakeRemote(lambda asked: self.play or knows_one(asked))
        self.augmenter = augmenter(self.remote, self.clock)

    def ask(self) -> Any:
        return start(self.augmenter.augment(TESS))

    def test_told(self) -> None:
        """The service receives the identity, and its roles and attributes are added."""
        addition: Addition = self.successResultOf(self.ask())
        self.assertEqual(addition, Addition(("writer",), {"floor": "3"}, NOW + 60))
        [asked] = self.remote.requests
        self.assertEqual(
            asked.json,
            {
                "realm": "here",
                "username": "tess",
                "roles": ["reader"],
                "attributes": {"mail": "t@x"},
            },
        )
        self.assertEqual(asked.headers["authorization"], "Bearer key")

    def test_remembered(self) -> None:
        """The service is not asked again for a minute."""
        for wait in (59, 1):
            self.successResultOf(self.ask())
            self.clock.advance(wait)
        self.assertEqual(len(self.remote.requests), 1)
        self.successResultOf(self.ask())
        self.assertEqual(len(self.remote.requests), 2)

    def test_outage_T44(self) -> None:
        """A response that does not keep to the contract is a failure, and not remembered."""
        for play in (
            Respond({}, 500),
            Respond({}, 401),
            Respond(b"oops"),
            Respond(["admin"]),
        ):
            self.play = play
            self.failureResultOf(self.ask(), Unavailable)
        self.play = None
        self.successResultOf(self.ask())

    def test_shapes_H_CLAIM(self) -> None:
        """Roles and attributes of another shape are read or left out, with one warning each."""
        answers: list[tuple[Any, tuple[str, ...], dict[str, str]]] = [
            (
                {"roles": "admin", "attributes": {"floor": 3, "none": None}},
                ("admin",),
                {"floor": "3"},
            ),
            ({"roles": {"admin": {"org": "x"}}, "attributes": None}, ("admin",), {}),
            ({"roles": ["a", 5], "attributes": ["x"]}, ("a",), {}),
            ({"roles": 5, "attributes": 5}, (), {}),
        ]
        with capturedLogs() as logged:
            for answer, roles, attributes in answers:
                self.play = Respond(answer)
                addition = self.successResultOf(self.ask())
                self.assertEqual((addition.roles, addition.attributes), (roles, attributes))
                self.clock.advance(60)
        told = [each for each in logged if each.get("event") == "remote.response.unreadable"]
        self.assertEqual([each["member"] for each in told], ["roles", "attributes"])
        self.assertIn(
            'it: roles in a response has values that are left out: ["a", 5]',
            formatEvent(told[0]) or "",
        )
