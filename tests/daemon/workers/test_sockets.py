"""Fair accepting from a shared socket."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.daemon.workers.sockets import PAUSE, FairAccept


class Port:
    """A port that accepts as one of Twisted does, and adapts C{numberAccepts}."""

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
    """How many connections a process accepts at a time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.port = Port()
        FairAccept(self.port, self.clock)  # type: ignore[arg-type] # as much as is needed

    def test_batch_doubles_while_connections_wait(self) -> None:
        """A process accepts one connection, pauses, then twice as many each time."""
        self.port.waiting = 10
        for _ in range(4):
            self.port.doRead()
            self.clock.advance(PAUSE)
        self.assertEqual(self.port.accepted, [1, 2, 4, 3])

    def test_nothing_is_accepted_in_a_pause(self) -> None:
        """In a pause the process accepts no connection."""
        self.port.waiting = 2
        self.port.doRead()
        self.assertFalse(self.port.reads)
        self.clock.advance(PAUSE)
        self.assertTrue(self.port.reads)

    def test_batch_is_one_again_when_none_wait(self) -> None:
        """When no connection waits any more, the next batch is one again, without a pause."""
        self.port.waiting = 2
        for _ in range(2):
            self.port.doRead()
            self.clock.advance(PAUSE)
        self.port.doRead()
        self.assertTrue(self.port.reads)
        self.port.waiting = 5
        self.port.doRead()
        self.assertEqual(self.port.accepted, [1, 1, 0, 1])

    def test_batch_has_a_limit(self) -> None:
        """A batch is never larger than the limit, however many connections wait."""
        self.port.waiting = 10_000
        for _ in range(10):
            self.port.doRead()
            self.clock.advance(PAUSE)
        self.assertEqual(max(self.port.accepted), 64)

    def test_port_closed_in_a_pause_stays_closed(self) -> None:
        """A port that was closed in a pause does not read again."""
        self.port.waiting = 1
        self.port.doRead()
        self.port.disconnecting = True
        self.clock.advance(PAUSE)
        self.assertFalse(self.port.reads)
