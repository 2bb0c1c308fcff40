"""The gate that distributes connections evenly over workers."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.daemon.workers.accept_gate import PATIENCE, PAUSE, AcceptGate
from authotron.daemon.workers.connection_counts import OwnCount, Places

FIRST, SECOND = 0, 1


class Port:
    """A port whose accepting can be paused."""

    reads = True

    def __init__(self, descriptor: int = 7) -> None:
        self.descriptor = descriptor

    def fileno(self) -> int:
        return self.descriptor

    def stopReading(self) -> None:
        self.reads = False

    def startReading(self) -> None:
        self.reads = True


class Arrivals:
    """Reports waiting connections as an epoll object does."""

    waits = False

    def __init__(self) -> None:
        self.registered: set[int] = set()

    def register(self, descriptor: int, events: int) -> None:
        self.registered.add(descriptor)

    def modify(self, descriptor: int, events: int) -> None:
        assert descriptor in self.registered

    def unregister(self, descriptor: int) -> None:
        self.registered.remove(descriptor)

    def poll(self, timeout: float) -> list[Any]:
        return [7] if self.waits else []

    def fileno(self) -> int:
        return 8


class Reactor(Clock):
    """A clock that also keeps the readers of a reactor."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)


class GateTests(SynchronousTestCase):
    """Two workers at one socket; the second is played by its number."""

    def setUp(self) -> None:
        self.numbers = memoryview(bytearray(16)).cast("i")
        self.numbers[SECOND] = 1
        self.reactor, self.port, self.arrivals = Reactor(), Port(), Arrivals()
        own: Any = OwnCount(self.numbers, FIRST)
        reactor: Any = self.reactor
        self.gate = AcceptGate(own, reactor, reactor, self.arrivals)
        self.open = 0
        self.gate.count = lambda: self.open
        self.gate.open(self.port)

    def accept(self, count: int) -> None:
        for _ in range(count):
            self.open += 1
            self.gate.note_change()

    def others_have(self, count: int) -> None:
        self.numbers[SECOND] = count + 1

    def test_worker_ahead_pauses(self) -> None:
        """A worker with 8 connections more than another one accepts no further connection."""
        self.accept(7)
        self.assertTrue(self.port.reads)
        self.accept(1)
        self.assertFalse(self.port.reads)
        self.assertEqual(self.numbers[FIRST], 9)

    def test_lead_grows_with_the_connections(self) -> None:
        """Of many connections a worker may have a sixteenth more than the other one."""
        self.others_have(160)
        self.accept(176)
        self.assertTrue(self.port.reads)
        self.accept(4)
        self.assertFalse(self.port.reads)

    def test_accepts_again_once_the_others_caught_up(self) -> None:
        """A worker looks at the others each millisecond while it is paused."""
        self.arrivals.waits = True
        self.accept(8)
        self.reactor.advance(PAUSE)
        self.assertFalse(self.port.reads)
        self.others_have(4)
        self.reactor.advance(PAUSE)
        self.assertTrue(self.port.reads)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_no_timer_while_no_connection_waits(self) -> None:
        """A paused worker sleeps until a connection arrives, then looks at the others at once."""
        self.accept(8)
        self.reactor.advance(PAUSE)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.arrivals.waits = True
        self.gate.doRead()
        self.assertFalse(self.port.reads)
        self.others_have(8)
        self.reactor.advance(PAUSE)
        self.assertTrue(self.port.reads)

    def test_blocked_worker_is_not_waited_for(self) -> None:
        """A stopped worker delays a connection by 20 ms, once, until it accepts again."""
        self.arrivals.waits = True
        self.accept(8)
        self.reactor.pump([PAUSE] * PATIENCE)
        self.assertFalse(self.port.reads)
        self.reactor.advance(PAUSE)
        self.assertTrue(self.port.reads)
        self.accept(40)
        self.assertTrue(self.port.reads)
        self.others_have(4)
        self.accept(4)
        self.assertFalse(self.port.reads)

    def test_two_ports_share_one_timer(self) -> None:
        """A connection at a second port starts no second timer, so the patience is the same."""
        self.gate.open(Port(9))
        self.arrivals.waits = True
        self.accept(8)
        for _ in range(PATIENCE):
            self.gate.doRead()
            self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
            self.reactor.advance(PAUSE)
        self.assertFalse(self.port.reads)
        self.reactor.advance(PAUSE)
        self.assertTrue(self.port.reads)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_port_that_opens_during_a_pause(self) -> None:
        """A port that opens while the worker is ahead accepts nothing before the pause ends."""
        self.accept(8)
        second = Port(9)
        self.gate.open(second)
        self.assertFalse(second.reads)
        self.others_have(8)
        self.reactor.advance(PAUSE)
        self.assertTrue(second.reads)

    def test_connection_at_a_second_port_blocks_no_worker(self) -> None:
        """After a worker has accepted again, no check is left that takes others for blocked."""
        self.gate.open(Port(9))
        self.arrivals.waits = True
        self.accept(8)
        self.reactor.advance(PAUSE / 2)
        self.gate.doRead()
        self.gate.doRead()
        self.others_have(8)
        self.reactor.advance(PAUSE / 2)
        self.assertTrue(self.port.reads)
        self.others_have(0)
        self.reactor.pump([PAUSE] * 2 * PATIENCE)
        self.accept(4)
        self.assertFalse(self.port.reads)

    def test_slow_worker_is_waited_for(self) -> None:
        """A worker that accepts slowly is not taken for a blocked one."""
        self.arrivals.waits = True
        self.others_have(32)
        self.accept(80)
        for count in range(33, 50):
            self.reactor.pump([PAUSE] * PATIENCE)
            self.others_have(count)
        self.assertFalse(self.port.reads)

    def test_worker_that_ended_is_not_waited_for(self) -> None:
        """The supervisor clears the number of a worker that has ended."""
        self.arrivals.waits = True
        self.accept(8)
        self.numbers[SECOND] = 0
        self.reactor.advance(PAUSE)
        self.assertTrue(self.port.reads)

    def test_draining_worker_takes_no_part(self) -> None:
        """A worker that drains is not waited for by others, and leaves nothing in the reactor."""
        self.accept(8)
        self.gate.close(self.port)
        self.assertEqual(self.numbers[FIRST], 0)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), (set(), []))
        self.assertEqual(self.arrivals.registered, set())
        self.accept(8)
        self.assertEqual(self.numbers[FIRST], 0)

    def test_port_that_is_closed_twice(self) -> None:
        """A port that drains is closed again when the worker ends, which changes nothing."""
        self.gate.close(self.port)
        self.gate.close(self.port)
        self.assertEqual(self.reactor.readers, set())

    def test_port_that_opens_while_the_worker_stops(self) -> None:
        """A port may be opened after another one was closed, and is closed like that one."""
        self.gate.close(self.port)
        late = Port()
        self.gate.open(late)
        self.accept(8)
        self.assertFalse(late.reads)
        self.gate.close(late)
        self.assertEqual((self.numbers[FIRST], self.reactor.readers), (0, set()))


class PlacesTests(SynchronousTestCase):
    """The places of the workers in the shared memory."""

    def setUp(self) -> None:
        self.places = Places.create(2)
        self.addCleanup(os.close, self.places.descriptor)

    def test_place_is_shared(self) -> None:
        """A number that one process writes is seen by the others at once."""
        numbers = [self.attached(place) for place in (0, 1)]
        numbers[1].publish(3)
        numbers[0].publish(9)
        self.assertEqual(numbers[0].behind(6), {1: 4})
        self.assertEqual(numbers[0].behind(7), {})
        numbers[1].withdraw()
        self.assertEqual(numbers[0].behind(1), {})

    def attached(self, place: int | None) -> OwnCount:
        return OwnCount.at(place, os.dup(self.places.descriptor))

    def test_place_of_an_ended_worker_is_free(self) -> None:
        """The place of a worker that has ended is cleared, and given to the next worker."""
        first, second = self.places.take(), self.places.take()
        self.assertEqual({first, second}, {0, 1})
        self.assertIsNone(self.places.take())
        self.attached(second).publish(5)
        self.places.release(second)
        self.assertEqual(self.attached(first).behind(-9), {})
        self.assertEqual(self.places.take(), second)
        self.places.release(None)
        self.assertIsNone(self.places.take())

    def test_worker_without_a_place(self) -> None:
        """A worker for which no place is left compares itself with no other worker."""
        self.attached(0).publish(0)
        alone = self.attached(None)
        alone.publish(100)
        self.assertEqual(alone.behind(1), {})
