"""C{GET /events}: streams of events for clients."""

from __future__ import annotations

import json

from authotron.gateway.policy_status import PolicyStatus
from authotron.testing.worlds import NOW
from authotron.web import event_routes, event_stream
from tests.web.conversations import ALICE
from tests.web.event_case import BOB, EventGatewayCase

BEGIN = ["reset", "policy", "keys", "ready"]


class StreamTests(EventGatewayCase):
    """What clients get, and when."""

    def test_begin(self) -> None:
        """A client gets the present state first, in a reply that no proxy buffers."""
        self.revoke(realm="internal", username="carol", reason="secret", by="operator")
        stream = self.listen()
        events = stream.read()
        self.assertEqual([each.name for each in events], ["reset", "revocation", *BEGIN[1:]])
        self.assertEqual(
            json.loads(events[1].data),
            {"id": "r-1", "realm": "internal", "username": "carol", "created": NOW},
        )
        for field in ("text/event-stream", "no-store", "X-Accel-Buffering: no", "chunked"):
            self.assertIn(field, stream.head)
        self.assertFalse(stream.has_ended)

    def test_revocation(self) -> None:
        """A revocation, and its withdrawal, arrive at once."""
        stream = self.listen()
        stream.read()
        self.revoke(realm="internal", username="carol")
        [event] = stream.read()
        self.assertEqual((event.name, json.loads(event.data)["username"]), ("revocation", "carol"))
        self.withdraw("r-1")
        [event] = stream.read()
        self.assertEqual((event.name, event.data), ("revocation-withdrawn", '{"id":"r-1"}'))

    def test_resume(self) -> None:
        """A client that connects again gets what it has missed, once, and nothing else."""
        first = self.listen()
        first.read()
        self.revoke(realm="internal", username="carol")
        first.channel.connectionLost()
        self.revoke(realm="internal", username="dave")
        first.read()
        second = self.listen(last=first.last_id)
        [event] = second.read()
        self.assertEqual(json.loads(event.data)["username"], "dave")
        again = self.listen(last=second.last_id)
        self.assertEqual(again.read(), [])

    def test_unknown_position_S_STREAM(self) -> None:
        """A client that was connected to another process gets the whole state."""
        for last in ("other-5", "x", "\xff", "-", "9" * 5000):
            stream = self.listen(last=last)
            self.assertEqual(stream.names(), BEGIN)
            stream.channel.connectionLost()

    def test_heartbeat(self) -> None:
        """An idle stream carries a heartbeat, and moves the position past events of others."""
        stream = self.listen(BOB)
        stream.read()
        before = stream.last_id
        self.revoke(realm="internal", username="carol")
        self.gateway.clock.advance(15)
        self.assertEqual(stream.read(), [])
        self.assertIn(b": heartbeat\n\n", stream.body)
        self.assertNotEqual(stream.last_id, before)
        self.assertEqual(self.listen(BOB, stream.last_id).read(), [])

    def test_other_clients_S_STREAM(self) -> None:
        """A client without a role of C{tokens.introspectors} gets its own revocations only."""
        self.revoke(realm="internal", username="carol")
        stream = self.listen(BOB)
        self.assertEqual(stream.names(), BEGIN)
        self.revoke(realm="internal", username="dave")
        self.revoke(token="t-1", realm="internal", username="dave")
        self.revoke(claims='"x" in claims')
        self.assertEqual(stream.read(), [])
        self.revoke(realm="internal", username="bob", issued_before=NOW)
        self.assertEqual(stream.names(), ["revocation"])
        self.withdraw("r-2")
        self.assertEqual(stream.read(), [])

    def test_keys_and_policies(self) -> None:
        """A reload that changes keys or policies is an event."""
        stream = self.listen()
        stream.read()
        self.serving.gateway.minter.jwks["keys"].append({"kid": "next"})
        self.gateway.clock.advance(0.5)
        [event] = stream.read()
        self.assertEqual((event.name, event.data), ("keys", '{"kids":["next"]}'))
        self.gateway.clock.advance(0.5)
        self.assertEqual(stream.read(), [])

    def test_stored_policies(self) -> None:
        """A new version of the policies in the token store is an event."""
        status = self.serving.policy_status = PolicyStatus(self.gateway.clock.seconds, 6)
        stream = self.listen()
        self.assertEqual(stream.read()[1].data, '{"version":6}')
        status.version = 7
        self.gateway.clock.advance(0.5)
        [event] = stream.read()
        self.assertEqual((event.name, event.data), ("policy", '{"version":7}'))

    def test_unauthenticated_S_STREAM(self) -> None:
        """Without valid credentials there is no stream."""
        self.assertEqual(self.gateway.ask("GET /events").status, 401)
        self.assertEqual(self.gateway.ask("POST /events", Authorization=ALICE).status, 405)

    def test_head(self) -> None:
        """HEAD describes the stream, and opens none."""
        answer = self.gateway.ask("HEAD /events", Authorization=ALICE)
        self.assertEqual(
            (answer.status, answer.headers["content-type"]), (200, "text/event-stream")
        )

    def test_switched_off(self) -> None:
        """Without the section C{events} the path is unknown, and open streams end."""
        self.begin(events=...)
        self.assertEqual(self.gateway.ask("GET /events", Authorization=ALICE).status, 404)

    def test_limits_S_STREAM(self) -> None:
        """Streams are limited for each user and for the process; a closed one makes room."""
        streams = [self.listen() for _ in range(3)]
        refused = self.gateway.ask("GET /events", Authorization=ALICE)
        self.assertEqual((refused.status, refused.headers["retry-after"]), (503, "5"))
        self.listen(BOB)
        self.listen(BOB)
        self.assertEqual(self.gateway.ask("GET /events", Authorization=BOB).status, 503)
        streams[0].channel.connectionLost()
        self.assertIn("200 OK", self.listen(BOB).head)


class EndTests(EventGatewayCase):
    """When a stream ends."""

    def test_revoked_S_STREAM(self) -> None:
        """A stream ends when the credential of its client is revoked."""
        stream, other = self.listen(BOB), self.listen()
        stream.read()
        self.revoke(realm="internal", username="bob")
        self.gateway.clock.advance(event_routes.CHECK)
        events = stream.read()
        self.assertEqual([each.name for each in events], ["revocation", "end"])
        self.assertEqual(events[-1].data, '{"reason": "refused"}')
        self.assertTrue(stream.has_ended)
        self.assertFalse(other.has_ended)

    def test_in_flight(self) -> None:
        """An open stream counts as one request in flight, and a closed one as none."""
        name = 'authotron_http_requests_in_flight{method="GET"}'
        stream = self.listen()
        self.assertIn(f"{name} 1.0", self.gateway.metrics.text()[0].decode())
        stream.channel.connectionLost()
        self.assertIn(f"{name} 0.0", self.gateway.metrics.text()[0].decode())

    def test_longest(self) -> None:
        """A stream ends after an hour, and its client resumes in another one."""
        stream = self.listen()
        for _ in range(int(event_routes.LONGEST / 15) + 1):
            self.gateway.clock.advance(15)
            stream.wire.clear()
        self.assertTrue(stream.has_ended or stream.wire.value() == b"")

    def test_drain(self) -> None:
        """A gateway that stops ends all streams, so that it need not wait for them."""
        stream = self.listen()
        drained = self.gateway.public.drain()
        self.assertTrue(stream.has_ended)
        stream.channel.connectionLost()
        self.successResultOf(drained)

    def test_slow_client_S_STREAM(self) -> None:
        """A client that does not read costs no memory, and its connection is aborted."""
        stream = self.listen()
        stream.stop_reading()
        before = len(stream.wire.value())
        for number in range(100):
            self.revoke(realm="internal", username=f"u-{number}")
        self.assertEqual(len(stream.wire.value()), before)
        self.gateway.clock.advance(event_stream.PATIENCE)
        self.assertTrue(stream.wire.disconnected)

    def test_client_that_resumes_reading(self) -> None:
        """A client that reads again in time gets all that has happened meanwhile."""
        stream = self.listen()
        stream.read()
        stream.stop_reading()
        for number in range(100):
            self.revoke(realm="internal", username=f"u-{number}")
        self.gateway.clock.advance(event_stream.PATIENCE - 1)
        stream.go_on_reading()
        self.assertEqual(len(stream.read()), 100)
        self.gateway.clock.advance(event_stream.PATIENCE)
        self.assertFalse(stream.has_ended)

    def test_fallen_behind_S_STREAM(self) -> None:
        """A client whose next events have left the log is disconnected, and learns all anew."""
        stream = self.listen()
        stream.read()
        stream.stop_reading()
        log = self.serving.streams._source.log  # type: ignore[attr-defined] # the test fills it
        log._most = 10
        for number in range(11):
            self.revoke(realm="internal", username=f"u-{number}")
        stream.go_on_reading()
        self.assertTrue(stream.wire.disconnected)
        self.assertEqual(stream.read(), [])
