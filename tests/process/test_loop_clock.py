"""Timers: those of Twisted's reactor, and those of an event loop of uvloop."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface.verify import verifyObject

from tests.process.transports import OnUvloop, TransportCase

NEVER = 1_000_000.0
"""Seconds after which no test is running any more."""


class TimerContract(TransportCase):
    """What a clock promises about its timers."""

    def setUp(self) -> None:
        super().setUp()
        self.fired: list[object] = []

    def after(self, seconds: float, name: object = "fired") -> Any:
        return self.clock.callLater(seconds, self.fired.append, name)

    def test_interfaces(self) -> None:
        """Clock and timers have all methods of Twisted's."""
        verifyObject(IReactorTime, self.clock)
        timer = self.after(NEVER)
        verifyObject(IDelayedCall, timer)
        timer.cancel()

    def test_fires_once_with_its_arguments(self) -> None:
        """A timer calls its function once, with all arguments."""
        self.clock.callLater(0, lambda *a, **k: self.fired.append((a, k)), 1, x=2)
        self.until(lambda: self.fired, "fired")
        self.turns()
        self.assertEqual(self.fired, [((1,), {"x": 2})])

    def test_order(self) -> None:
        """Timers fire in the order of their times."""
        for name in (0.03, 0.01, 0.02):
            self.after(name, name)
        self.until(lambda: len(self.fired) == 3, "fired")
        self.assertEqual(self.fired, [0.01, 0.02, 0.03])

    def test_cancelled(self) -> None:
        """A timer that is cancelled never fires, and cannot be changed any more."""
        timer = self.after(0)
        self.assertTrue(timer.active())
        timer.cancel()
        self.assertFalse(timer.active())
        self.after(0.01, "later")
        self.until(lambda: self.fired, "fired")
        self.assertEqual(self.fired, ["later"])
        self.assertRaises(AlreadyCancelled, timer.cancel)
        self.assertRaises(AlreadyCancelled, timer.reset, 1)
        self.assertRaises(AlreadyCancelled, timer.delay, 1)

    def test_called(self) -> None:
        """A timer that has fired cannot be changed any more."""
        timer = self.after(0)
        self.until(lambda: self.fired, "fired")
        self.assertFalse(timer.active())
        self.assertRaises(AlreadyCalled, timer.cancel)
        self.assertRaises(AlreadyCalled, timer.reset, 1)
        self.assertRaises(AlreadyCalled, timer.delay, 1)

    def test_moved(self) -> None:
        """A timer can be moved to an earlier and to a later time."""
        early, late = self.after(NEVER, "early"), self.after(0, "late")
        late.reset(NEVER)
        early.reset(0)
        self.until(lambda: self.fired, "fired")
        self.turns()
        self.assertEqual(self.fired, ["early"])
        late.delay(-2 * NEVER)
        self.until(lambda: len(self.fired) == 2, "fired")

    def test_time(self) -> None:
        """A timer knows when it fires, by the time of its clock."""
        timer = self.after(NEVER)
        self.assertLessEqual(timer.getTime(), self.clock.seconds() + NEVER)
        self.assertGreater(timer.getTime(), self.clock.seconds() + NEVER - 3600)
        timer.cancel()

    def test_defect(self) -> None:
        """A timer that fails is logged, and keeps no other timer from firing."""
        self.clock.callLater(0, lambda: 1 / 0)
        self.after(0.001)
        self.until(lambda: self.fired, "fired")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class TwistedTests(TimerContract):
    """Timers of Twisted's reactor on epoll."""


class UvloopTests(OnUvloop, TimerContract):
    """Timers of an event loop of uvloop."""


del TimerContract
