"""Security events that the gateway fetches (RFC 8936)."""

from __future__ import annotations

import json
from typing import Any

from authotron.testing.issuers import IDP, NEXT, key_set
from authotron.testing.remotes import Action, Hang, ReceivedRequest, Respond
from tests.jose.test_security_events import GATE, set_of
from tests.web.event_case import EventGatewayCase

POLL = {"url": "http://idp.example/poll", "token": "poll-secret", "interval": 5}
TRANSMITTER = {"provider": "idp", "audience": [GATE], "poll": POLL}


class PollTests(EventGatewayCase):
    """What is fetched, acknowledged and refused."""

    def setUp(self) -> None:
        super().setUp()
        self.answers: list[Any] = []
        self.polls: list[ReceivedRequest] = []
        self.remote.script = self.respond
        self.begin(events={"transmitters": [TRANSMITTER]})

    def respond(self, request: ReceivedRequest) -> Action:
        if request.address != "idp.example/poll":
            return Respond(key_set(IDP))
        self.polls.append(request)
        found = self.answers.pop(0) if self.answers else {"sets": {}}
        return found if isinstance(found, (Respond, Hang)) else Respond(found)

    def poll(self, *answers: Any) -> list[Any]:
        """Let the gateway poll again, and return the bodies of its requests."""
        self.answers, self.polls[:] = [*answers], []
        self.gateway.clock.advance(5)
        return [json.loads(each.body) for each in self.polls]

    def revoked(self) -> int:
        revocations = self.serving.gateway.revocations
        assert revocations is not None
        return len(revocations.index.known)

    def test_acknowledged(self) -> None:
        """A token is acknowledged after it took effect, in the next request."""
        first, second = self.poll({"sets": {"event-1": set_of()}, "moreAvailable": False})
        self.assertEqual(first, {"maxEvents": 100, "returnImmediately": True})
        self.assertEqual(second["ack"], ["event-1"])
        self.assertEqual(self.revoked(), 1)
        self.assertEqual(self.polls[0].headers["authorization"], "Bearer poll-secret")

    def test_not_valid_S_EVENT(self) -> None:
        """A token that is not valid is reported to the identity provider, and has no effect."""
        sets = {"a": set_of(NEXT), "b": "x", "c": set_of()}
        _, second = self.poll({"sets": sets})
        self.assertEqual(second["ack"], ["c"])
        errors = {id_: each["err"] for id_, each in second["setErrs"].items()}
        self.assertEqual(errors, {"a": "invalid_key", "b": "invalid_request"})
        self.assertEqual(self.revoked(), 1)

    def test_endless_S_EVENT(self) -> None:
        """An endpoint that always has more is asked at most 20 times in a row."""
        lie = {"sets": {"event-1": set_of()}, "moreAvailable": True}
        self.assertEqual(len(self.poll(*[lie] * 100)), 20)
        self.assertEqual(len(self.poll({"sets": {}, "moreAvailable": True})), 1)
        self.assertEqual(self.revoked(), 1)

    def test_nonsense_S_EVENT(self) -> None:
        """Nonsense of the endpoint has no effect, and the next poll works."""
        answers: tuple[Any, ...] = (
            [], {"sets": []}, {"sets": {"a": 5}}, {"sets": {"a": [set_of()]}}, Respond(status=500),
            Respond(b"x" * 2_000_000), Respond(status=302, headers={"Location": "http://evil/"}),
            Respond(b"{"), Respond(status=401),
        )  # fmt: skip
        for nonsense in answers:
            self.assertEqual(len(self.poll(nonsense)), 1)
            self.gateway.clock.advance(60)
        self.assertEqual({each.address for each in self.remote.requests}, {"idp.example/poll"})
        self.assertEqual(self.revoked(), 0)
        self.poll({"sets": {"event-1": set_of()}})
        self.assertEqual(self.revoked(), 1)

    def test_too_many_S_EVENT(self) -> None:
        """Of an answer with more tokens than were asked for, the rest is left."""
        sets = {str(number): "x" for number in range(150)}
        self.assertEqual(len(self.poll({"sets": sets})[1]["setErrs"]), 100)

    def test_one_poller(self) -> None:
        """Of two processes with one token store, one polls; if it ends, the other one follows."""
        self.poll()
        other = self.events
        self.events = type(other)(self.serving, self.gateway.clock)  # type: ignore[arg-type] # needs only the clock of a reactor
        self.events.start()
        self.addCleanup(self.events.stop)
        self.assertEqual(len(self.poll()), 1)
        other.stop()
        for _ in range(5):
            self.poll()
        self.assertEqual(len(self.poll()), 1)
