"""In the queue of passwords to verify each client has a share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.limits.hash_queue import (
    THREADS,
    WAITING,
    HashQueue,
    at_once,
)
from authotron.model.errors import Unavailable
from authotron.testing.worlds import NOW, clock_at

REFUSED = object()
CROWD = WAITING + 6
"""More than can wait, while one is at work."""


class QueueCase(SynchronousTestCase):
    """A queue with one thread, which works when the test says so."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.working: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.begun: list[str] = []
        self.queue = HashQueue(self.clock, self.thread, at_once=1)

    def thread(self, work: Callable[[], Any], /) -> Deferred[Any]:
        self.working.append((work, Deferred()))
        return self.working[-1][1]

    def ask(
        self, client: str | None, username: str, result: int | None = None, password: str = ""
    ) -> Deferred[Any]:
        def verify() -> int | None:
            self.begun.append(f"{client} {username}{password}")
            return result

        asked: Deferred[Any] = self.queue.verify(client, username, verify)
        return asked.addErrback(self.note_refusal)

    def note_refusal(self, failure: Failure) -> object:
        failure.trap(Unavailable)
        return REFUSED

    def work(self, times: int = 1) -> None:
        """Let the thread finish this many jobs."""
        for _ in range(times):
            work, done = self.working.pop(0)
            done.callback(work())

    def work_off(self) -> None:
        while self.working:
            self.work()

    def refused(self, *asked: Deferred[Any]) -> int:
        """Return how many of these were refused as an outage."""
        return sum(each.called and self.successResultOf(each) is REFUSED for each in asked)

    def fail_lately(self, *clients: tuple[str | None, str]) -> None:
        for client, username in clients:
            self.ask(client, username)
            self.work()
        self.begun.clear()

    def fill(self, clients: Callable[[int], tuple[str | None, str]]) -> list[Deferred[Any]]:
        """Add more jobs than may wait; one of them runs."""
        return [self.ask(*clients(number)) for number in range(CROWD)]

    def position(self, job: str) -> int:
        """Return how many jobs are started before this one."""
        self.work_off()
        return self.begun.index(job)


def one_address(number: int) -> tuple[str, str]:
    return "192.0.2.1", f"user{number}"


def many_addresses(number: int) -> tuple[str, str]:
    return f"192.0.2.{number + 1}", "alice"


def no_address(number: int) -> tuple[None, str]:
    return None, f"user{number}"


class ShareTests(QueueCase):
    """Which clients get a place in the queue, and which lose one."""

    def test_bounded_T84d(self) -> None:
        """A single client may use the whole queue; more jobs are an outage."""
        self.assertEqual(self.refused(*self.fill(one_address)), CROWD - 1 - WAITING)

    def test_one_address_T84d(self) -> None:
        """Many guessers at one address do not cost another client its place or its turn."""
        guessers = self.fill(one_address)
        good = self.ask("203.0.113.9", "bob", 0)
        self.assertEqual(self.refused(good), 0)
        self.assertEqual(self.refused(*guessers), CROWD - WAITING)
        self.assertLessEqual(self.position("203.0.113.9 bob"), 2)
        self.assertEqual(self.successResultOf(good), 0)

    def test_few_addresses_T84d(self) -> None:
        """Guessers at five addresses do not cost another client its place or its turn."""
        self.fill(lambda number: (f"192.0.2.{number % 5}", f"user{number}"))
        good = self.ask("203.0.113.9", "bob", 0)
        self.assertLessEqual(self.position("203.0.113.9 bob"), 6)
        self.assertEqual(self.successResultOf(good), 0)

    def test_many_addresses_T84d(self) -> None:
        """Guessers that failed before, each at its own address, shut out no other client."""
        self.fail_lately(*map(many_addresses, range(CROWD)))
        self.fill(many_addresses)
        good = [self.ask(f"203.0.113.{number}", "bob", 0) for number in range(40)]
        self.assertEqual(self.refused(*good), 0)
        self.work_off()
        first = self.begun[: 2 * len(good) + 1]
        self.assertEqual(sum(job.endswith("bob") for job in first), len(good))

    def test_new_addresses_T84d(self) -> None:
        """Seventy clients at 70 addresses that have not failed yet can all wait."""
        guessers = [self.ask(*many_addresses(number)) for number in range(70)]
        good = self.ask("203.0.113.9", "bob", 0)
        self.assertEqual(self.refused(*guessers, good), 0)

    def test_half_T84d(self) -> None:
        """Failing clients keep at most half of the places if other clients want them."""
        self.fail_lately(*map(many_addresses, range(CROWD)))
        self.fill(many_addresses)
        good = [self.ask("203.0.113.9", f"bob{number}", 0) for number in range(WAITING)]
        self.assertEqual(self.refused(*good), WAITING // 2)

    def test_known_user_T84d(self) -> None:
        """New addresses do not displace a user name that was verified for its client."""
        self.ask("203.0.113.9", "bob", 0)
        self.work_off()
        self.fill(many_addresses)
        good = self.ask("203.0.113.9", "bob", 0)
        self.assertEqual(self.refused(good), 0)
        self.begun.clear()
        self.assertLessEqual(self.position("203.0.113.9 bob"), 1)

    def test_known_user_of_failing_client_T84d(self) -> None:
        """A user name that was verified is not delayed by guessers at the same address."""
        self.ask("192.0.2.1", "bob", 0)
        self.work_off()
        self.fail_lately(*map(one_address, range(9)))
        self.fill(one_address)
        self.ask("192.0.2.1", "bob", 0)
        self.assertLessEqual(self.position("192.0.2.1 bob"), 2)

    def test_no_address_T84d(self) -> None:
        """Without an address each user name has a share: many names do not shut out one name."""
        self.fail_lately(*map(no_address, range(CROWD)))
        self.fill(no_address)
        good = self.ask(None, "bob", 0)
        self.assertEqual(self.refused(good), 0)
        self.assertLessEqual(self.position("None bob"), 2)

    def test_one_name_T84d(self) -> None:
        """Without an address many guesses at one user name do not shut out another name."""
        self.fill(lambda _: (None, "alice"))
        good = self.ask(None, "bob", 0)
        self.assertLessEqual(self.position("None bob"), 2)
        self.assertEqual(self.successResultOf(good), 0)

    def test_untrusted_proxy_T84d(self) -> None:
        """Behind one proxy that is not trusted, many guesses do not shut out another user."""
        self.fail_lately(*map(one_address, range(CROWD)))
        self.fill(one_address)
        good = self.ask("192.0.2.1", "bob", 0)
        self.assertEqual(self.refused(good), 0)
        self.assertLessEqual(self.position("192.0.2.1 bob"), 2)

    def test_no_address_is_one_client_T84d(self) -> None:
        """Requests without an address, of whatever names, do not shut out an address."""
        self.fill(no_address)
        self.ask("203.0.113.9", "bob", 0)
        self.assertLessEqual(self.position("203.0.113.9 bob"), 2)

    def test_ipv6_T84d(self) -> None:
        """The addresses of one IPv6 network of 64 bits are one client."""
        self.fill(lambda number: (f"2001:db8::{number:x}", f"user{number}"))
        self.ask("2001:db8:0:1::1", "bob", 0)
        self.assertLessEqual(self.position("2001:db8:0:1::1 bob"), 2)

    def test_forgotten_T84d(self) -> None:
        """One failure is forgotten after 30 s, many failures after 3 min."""
        self.fail_lately(("192.0.2.1", "alice"), *[("192.0.2.2", "alice")] * 99)
        for seconds, expected in ((29, [True, True]), (2, [False, True]), (160, [False, False])):
            self.clock.advance(seconds)
            outer = [self.queue._reputations.asker(f"192.0.2.{n}", "x").path[0] for n in (1, 2)]
            found = [key in self.queue._reputations.failures for key in outer]
            self.assertEqual(found, expected, seconds)

    def test_bounded_memory_T84d(self) -> None:
        """The failures of at most 10,000 clients are remembered; the oldest are dropped."""
        for number in range(10_001):
            self.ask(f"{number}", "x")
            self.work()
        self.assertEqual(len(self.queue._reputations.failures.known), 10_000)

    def test_only_hashes_are_kept_T84d(self) -> None:
        """Neither clients nor user names can be read from what is remembered."""
        self.fail_lately(("192.0.2.77", "canary"))
        self.ask("192.0.2.77", "canary2", 0)
        self.work_off()
        remembered = [*self.queue._reputations.failures.known, *self.queue._reputations.trusted]
        self.assertEqual({len(key) for key in remembered}, {16})
        self.assertNotIn("canary", repr(self.queue))


class OrderTests(QueueCase):
    """The order of jobs, and what happens to cancelled jobs."""

    def test_turns_T84d(self) -> None:
        """Clients take turns, and so do the user names of each client."""
        self.fail_lately(("1", "a"), ("1", "b"), ("2", "a"))
        for job in ("1 a", "1 a", "1 a", "1 b", "2 a", "2 a"):
            client, username = job.split()
            self.ask(client, username)
        self.work_off()
        self.assertEqual(self.begun, ["1 a", "1 a", "2 a", "1 b", "2 a", "1 a"])

    def test_at_once_T84d(self) -> None:
        """No more jobs are given to threads than may run at once."""
        self.fill(one_address)
        self.assertEqual(len(self.working), 1)

    def test_processes_T84d(self) -> None:
        """Several processes share the processors; each verifies at least one hash at once."""
        self.assertEqual([at_once(number) for number in (1, 1000)], [THREADS, 1])

    def test_cancelled_while_waiting_T84d(self) -> None:
        """A client that is cancelled while it waits frees its place, and costs no hash."""
        waiting = self.fill(one_address)[1:WAITING]
        for each in waiting:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.refused(*self.fill(many_addresses)), CROWD - WAITING + 1)
        self.assertEqual(self.position("192.0.2.1 user0"), 0)
        self.assertNotIn("192.0.2.1 user1", self.begun)

    def test_cancelled_while_verified_T84d(self) -> None:
        """
        A client that is cancelled while its hash is verified still fails, and keeps its
        thread.
        """
        leaver = self.ask("192.0.2.1", "alice")
        other = self.ask("192.0.2.2", "alice")
        verify, done = self.working.pop()
        result = verify()
        leaver.cancel()
        self.failureResultOf(leaver, CancelledError)
        self.assertEqual(self.working, [])
        done.callback(result)
        self.assertEqual(len(self.working), 1)
        self.assertNoResult(other)
        key = self.queue._reputations.asker("192.0.2.1", "x").path[0]
        self.assertIn(key, self.queue._reputations.failures)

    def test_cancelled_before_the_thread_starts_T84d(self) -> None:
        """A client that is cancelled before its thread starts costs no hash, and has not failed."""
        leaver = self.ask("192.0.2.1", "alice")
        leaver.cancel()
        self.failureResultOf(leaver, CancelledError)
        self.work()
        self.assertEqual(self.begun, [])
        self.assertEqual(len(self.queue._reputations.failures.known), 0)

    def test_defect_T84d(self) -> None:
        """A defect of a job reaches its client, and the next job is started."""
        broken = self.queue.verify(None, "alice", partial(int, "x"))
        self.ask(None, "bob", 0)
        work, done = self.working.pop()
        try:
            work()
        except ValueError:
            done.errback()
        self.failureResultOf(broken, ValueError)
        self.assertEqual(self.position("None bob"), 0)


del QueueCase
