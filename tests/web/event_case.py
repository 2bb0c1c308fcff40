"""A gateway in memory that revokes, sends events and receives them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.client.event_parser import EventParser, ServerEvent
from authotron.daemon.live_events import LiveEvents
from authotron.daemon.live_records import LiveRecords
from authotron.gateway.revoking import revoke, withdraw
from authotron.model.revocation import Revocation
from authotron.net.world import World
from authotron.telemetry.audit import Actor
from authotron.testing.issuers import IDP, key_set
from authotron.testing.remotes import Action, FakeRemote, Respond
from authotron.testing.worlds import NOW, clock_at, run_at_once
from tests.config.cases import laid_over
from tests.jose.test_security_events import GATE, ISSUER
from tests.web.conversations import ALICE, InMemoryGateway, Wire, basic

BOB = basic("bob", "builder")
OVER: dict[str, Any] = {
    "store": {"enabled": True, "type": "memory"},
    "revocation": {},
    "tokens": {"introspectors": ["auditor"]},
    "events": {
        "max_streams": 5,
        "max_streams_per_user": 3,
        "transmitters": [{"provider": "idp", "audience": [GATE]}],
    },
    "providers": [
        {
            "type": "plain",
            "name": "staff",
            "realm": "internal",
            "users": [
                {"username": "alice", "password": "wonder", "roles": ["auditor"]},
                {"username": "bob", "password": "builder"},
            ],
        },
        {
            "type": "jwt",
            "name": "idp",
            "realm": "main",
            "issuer": ISSUER,
            "cert_uri": "http://idp.example/certs",
            "audience": GATE,
        },
    ],
}


class EventGatewayCase(SynchronousTestCase):
    """A gateway with revocation and events."""

    def setUp(self) -> None:
        self.over = OVER
        self.answer: Action = Respond(key_set(IDP))
        self.remote = FakeRemote(lambda _: self.answer)
        self.begin()

    def begin(self, **over: Any) -> None:
        """Start the gateway, with changed keys of its configuration."""
        clock = clock_at(NOW)
        self.gateway = InMemoryGateway(laid_over(self.over, over), clock=clock, agents=self.remote)
        self.serving = self.gateway.serving
        world = World(clock, run_at_once, self.remote)
        self.records = LiveRecords(self.serving, world)
        self.records.start()
        self.events = LiveEvents(self.serving, clock)  # type: ignore[arg-type] # needs only the clock of a reactor
        self.events.start()
        self.gateway.clock.advance(0)
        self.addCleanup(self.records.stop)
        self.addCleanup(self.events.stop)

    def revoke(self, **named: Any) -> Revocation:
        """Make a revocation."""
        number = getattr(self, "number", 0) + 1
        self.number = number
        fields = {"created": self.gateway.clock.seconds(), **named}
        wanted = Revocation(f"r-{number}", **fields)
        made = Deferred.fromCoroutine(revoke(self.serving, wanted, Actor("", "test", "test")))
        found: Revocation = self.successResultOf(made)
        return found

    def withdraw(self, id_: str) -> None:
        """Withdraw a revocation."""
        made = Deferred.fromCoroutine(withdraw(self.serving, id_, Actor("", "test", "test")))
        self.assertTrue(self.successResultOf(made))

    def listen(self, authorization: str = ALICE, last: str = "") -> Stream:
        """Open a stream of events."""
        channel, wire = self.gateway.connect()
        fields = f"Authorization: {authorization}\r\n" + (
            f"Last-Event-ID: {last}\r\n" if last else ""
        )
        channel.dataReceived(f"GET /events HTTP/1.1\r\nHost: gate\r\n{fields}\r\n".encode())
        self.gateway.clock.advance(0)
        return Stream(channel, wire)


class Stream:
    """An open stream, as its client sees it."""

    def __init__(self, channel: Any, wire: Wire) -> None:
        self.channel, self.wire = channel, wire
        self._parser = EventParser()
        self._read = 0
        self.body = b""

    @property
    def head(self) -> str:
        return bytes(self.wire.value()).partition(b"\r\n\r\n")[0].decode()

    def read(self) -> list[ServerEvent]:
        """Return the events that have arrived since the last call."""
        chunks = self.wire.value().partition(b"\r\n\r\n")[2]
        body = b""
        while chunks:
            size, _, chunks = chunks.partition(b"\r\n")
            body += chunks[: int(size, 16)]
            chunks = chunks[int(size, 16) + 2 :]
        new, self.body = body[len(self.body) :], body
        return self._parser.feed(new)

    def names(self) -> list[str]:
        return [event.name for event in self.read()]

    def stop_reading(self) -> None:
        """Let the buffers of the connection be full."""
        assert self.wire.producer is not None
        self.wire.producer.pauseProducing()

    def go_on_reading(self) -> None:
        """Let the connection take further bytes."""
        assert self.wire.producer is not None
        self.wire.producer.resumeProducing()

    @property
    def last_id(self) -> str:
        return self._parser.last_id

    @property
    def has_ended(self) -> bool:
        """Whether the gateway has ended the reply, or closed the connection."""
        is_complete = self.wire.value().endswith(b"\r\n0\r\n\r\n")
        return is_complete or self.wire.disconnecting or self.wire.disconnected
