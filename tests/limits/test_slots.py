"""Slots limit how many requests are under way at once."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.limits.fair_queue import Reputations
from authotron.limits.slots import CLIENT, Slots
from authotron.model.errors import Unavailable
from authotron.model.identity import Client


class SlotsTests(SynchronousTestCase):
    """A fixed number of slots, given in order."""

    def setUp(self) -> None:
        self.slots = Slots(2, Reputations(Clock()))

    def acquire(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.slots.acquire())

    def test_limited_T85a(self) -> None:
        """A third caller waits until a slot is released, and callers get slots in order."""
        for each in (self.acquire(), self.acquire()):
            self.successResultOf(each)
        third, fourth = self.acquire(), self.acquire()
        self.assertFalse(self.slots.take())
        self.assertNoResult(third)
        self.slots.release()
        self.successResultOf(third)
        self.assertNoResult(fourth)
        self.slots.release()
        self.successResultOf(fourth)
        self.slots.release()
        self.slots.release()
        self.assertTrue(self.slots.take())

    def test_cancelled_waiter_T85a(self) -> None:
        """A caller that is cancelled takes no slot, and costs no other caller a slot."""
        for each in (self.acquire(), self.acquire()):
            self.successResultOf(each)
        leaver, waiting = self.acquire(), self.acquire()
        leaver.cancel()
        self.failureResultOf(leaver, CancelledError)
        self.slots.release()
        self.successResultOf(waiting)
        self.slots.release()
        self.slots.release()
        self.assertTrue(self.slots.take() and self.slots.take())
        self.assertFalse(self.slots.take())

    def test_too_many_wait_T85a(self) -> None:
        """Beyond the bound of the queue a caller gets an outage at once."""
        waiting = [self.acquire() for _ in range(2 + 64)]
        self.failureResultOf(self.acquire(), Unavailable)
        waiting[-1].addErrback(lambda _: None)
        waiting[-1].cancel()
        self.assertNoResult(self.acquire())

    def test_no_recursion_T85a(self) -> None:
        """A thousand callers that release their slots at once do not recurse."""
        slots = Slots(100, Reputations(Clock()))
        for _ in range(100):
            slots.take()

        async def briefly() -> None:
            await slots.acquire()
            slots.release()

        waiting = [Deferred.fromCoroutine(briefly()) for _ in range(3200)]
        slots.release()
        for each in waiting:
            self.successResultOf(each)


class SharesTests(SynchronousTestCase):
    """Callers of many clients."""

    def setUp(self) -> None:
        self.slots = Slots(2, Reputations(Clock()))
        self.slots.take()
        self.slots.take()
        self.served: list[str] = []

    def ask(self, name: str, client: Client = None) -> Deferred[None]:
        """Acquire a slot, keep it, and note which client has it."""
        token = CLIENT.set(client)
        try:
            asked = Deferred.fromCoroutine(self.slots.acquire())
        finally:
            CLIENT.reset(token)
        return asked.addCallback(lambda _: self.served.append(name))

    def test_turns_T84d(self) -> None:
        """A client with many requests lets each other client in after one of its own."""
        for number in range(20):
            self.ask(f"a{number}", "192.0.2.1")
        self.ask("b0", lambda: "192.0.2.2")
        self.ask("c0")
        self.ask("b1", lambda: "192.0.2.2")
        for _ in range(6):
            self.slots.release()
        self.assertEqual(self.served, ["a0", "b0", "c0", "a1", "b1", "a2"])

    def test_ipv6_site_is_one_client_T84d(self) -> None:
        """The IPv6 addresses of one site are one client, and so are requests without an address."""
        for number in range(3):
            self.ask(f"six{number}", f"2001:db8::{number}")
            self.ask(f"none{number}")
        self.ask("other", "2001:db8:1::1")
        for _ in range(4):
            self.slots.release()
        self.assertEqual(self.served, ["six0", "none0", "other", "six1"])

    def test_queue_is_full_T84d(self) -> None:
        """If too many callers wait, the client with most of them loses one."""
        many = [self.ask("a", "192.0.2.1") for _ in range(63)]
        once = self.ask("b", "192.0.2.2")
        self.failureResultOf(self.ask("a", "192.0.2.1"), Unavailable)
        others = [self.ask("c", f"198.51.100.{number}") for number in range(62)]
        for each in many[1:]:
            self.failureResultOf(each, Unavailable)
        self.failureResultOf(self.ask("d", "203.0.113.1"), Unavailable)
        for each in (many[0], once, *others):
            self.assertNoResult(each)

    def test_cancelled_waiter_of_a_client_T84d(self) -> None:
        """
        A caller that is cancelled costs the other callers of its client neither slot nor
        turn.
        """
        leaver = self.ask("a0", "192.0.2.1")
        for name, client in (("b0", "192.0.2.2"), ("a1", "192.0.2.1")):
            self.ask(name, client)
        for each in (leaver, self.ask("c0", "192.0.2.3")):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.slots.release()
        self.slots.release()
        self.assertEqual(self.served, ["a1", "b0"])
        self.slots.release()
        self.assertTrue(self.slots.take())
