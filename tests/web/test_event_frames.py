"""Server-Sent Events, as clients read them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.client.event_parser import EventParser, ServerEvent
from authotron.web import event_frames


class FrameTests(SynchronousTestCase):
    """The client library reads what the gateway writes."""

    def test_frames(self) -> None:
        """Name, data and id arrive as they were, in whatever pieces the bytes arrive."""
        wire = (
            event_frames.retry(2000)
            + event_frames.frame("revocation", '{"id": "ä"}', "log-1")
            + event_frames.HEARTBEAT
            + event_frames.frame("keys", "{}")
            + event_frames.position("log-3")
        )
        for size in (1, 2, 7, len(wire)):
            parser = EventParser()
            pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
            found = [event for piece in pieces for event in parser.feed(piece)]
            self.assertEqual(
                found, [ServerEvent("revocation", '{"id": "ä"}'), ServerEvent("keys", "{}")]
            )
            self.assertEqual(parser.last_id, "log-3")

    def test_lines(self) -> None:
        """A line end in the data of an event begins no other field."""
        wire = event_frames.frame("x", "a\nid: forged\r\nevent: y")
        parser = EventParser("before")
        self.assertEqual(parser.feed(wire), [ServerEvent("x", "a\nid: forged\nevent: y")])
        self.assertEqual(parser.last_id, "before")
