"""Taking turns at a socket."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.daemon.workers.sockets import PAUSE, FairAccept


class Port:
    """As much of one of Twisted's as matters: it accepts, and adapts how many it would."""

    connected, disconnecting = True, False
    numberAccepts = 100

    def __init__(self) -> None:
        self.waiting = 0
        self.reads = True
        self.accepted: list[int] = []

    def doRead(self) -> None:
        accepted = min(self.waiting, self.numberAccepts)
        self.waiting -= accepted
        self.accepted.append(accepted)
        self.numberAccepts = self.numberAccepts + 20 if accepted == self.numberAccepts else 1

    def stopReading(self) -> None:
        self.reads = False

    def startReading(self) -> None:
        self.reads = True


class TurnsTests(SynchronousTestCase):
    """How many one process takes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.port = Port()
        FairAccept(self.port, self.clock)

    def test_crowd(self) -> None:
        """Of many it takes one, pauses, and then twice as many as before each time."""
        self.port.waiting = 10
        for _ in range(4):
            self.port.doRead()
            self.clock.advance(PAUSE)
        self.assertEqual(self.port.accepted, [1, 2, 4, 3])

    def test_pause(self) -> None:
        """In a pause it does not look."""
        self.port.waiting = 2
        self.port.doRead()
        self.assertFalse(self.port.reads)
        self.clock.advance(PAUSE)
        self.assertTrue(self.port.reads)

    def test_calm(self) -> None:
        """When all have been accepted it begins with one again, without a pause."""
        self.port.waiting = 2
        for _ in range(2):
            self.port.doRead()
            self.clock.advance(PAUSE)
        self.port.doRead()
        self.assertTrue(self.port.reads)
        self.port.waiting = 5
        self.port.doRead()
        self.assertEqual(self.port.accepted, [1, 1, 0, 1])

    def test_at_most(self) -> None:
        """However many there are, it does nothing else for only so long."""
        self.port.waiting = 10_000
        for _ in range(10):
            self.port.doRead()
            self.clock.advance(PAUSE)
        self.assertEqual(max(self.port.accepted), 64)

    def test_closed(self) -> None:
        """A port that was closed in a pause stays closed."""
        self.port.waiting = 1
        self.port.doRead()
        self.port.disconnecting = True
        self.clock.advance(PAUSE)
        self.assertFalse(self.port.reads)
