"""What is kept, and what is found out once for all who want to know."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.cache import Flights, Identities
from authotron.errors import Rejected, Unavailable
from authotron.identity import Identity
from tests.remotes import running
from tests.worlds import NOW, at


class Work:
    """Something that takes as long as the test wants."""

    def __init__(self) -> None:
        self.begun: list[Deferred[Any]] = []
        self.cancelled = 0

    async def __call__(self) -> Any:
        result: Deferred[Any] = Deferred(self._cancel)
        self.begun.append(result)
        return await result

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


class FlightTests(SynchronousTestCase):
    """Work that several want at once."""

    def setUp(self) -> None:
        self.work = Work()
        self.flights: Flights[Any] = Flights()

    def join(self, key: str = "a") -> Deferred[Any]:
        return running(self.flights.join(key, self.work))

    def test_once(self) -> None:
        """It is done once, and everybody gets the result."""
        waiting = [self.join() for _ in range(500)]
        self.work.begun[0].callback("done")
        self.assertEqual({self.successResultOf(each) for each in waiting}, {"done"})
        self.assertEqual(len(self.work.begun), 1)

    def test_keys_T45(self) -> None:
        """Under another key it is other work, and results do not mix."""
        waiting = {str(number): self.join(str(number)) for number in range(500)}
        for number, begun in enumerate(self.work.begun):
            begun.callback(str(number))
        for key, deferred in waiting.items():
            self.assertEqual(self.successResultOf(deferred), key)

    def test_failure(self) -> None:
        """Everybody gets the failure, and the next one tries anew."""
        waiting = [self.join(), self.join()]
        self.work.begun[0].errback(Unavailable())
        for each in waiting:
            self.failureResultOf(each, Unavailable)
        self.assertNoResult(self.join())
        self.assertEqual(len(self.work.begun), 2)

    def test_one_leaves_T45(self) -> None:
        """One who leaves disturbs nobody."""
        first, second = self.join(), self.join()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.work.begun[0].callback("done")
        self.assertEqual(self.successResultOf(second), "done")

    def test_all_leave(self) -> None:
        """When the last one leaves the work is cancelled; one who comes then begins it anew."""
        for each in [self.join(), self.join()]:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.work.cancelled, 1)
        self.assertNoResult(self.join())

    def test_leaves_on_landing(self) -> None:
        """Somebody may leave because of the result that another got."""
        first, second = self.join(), self.join()
        first.addCallback(lambda _: second.cancel())
        self.work.begun[0].callback("done")
        self.failureResultOf(second, CancelledError)

    def test_lasting(self) -> None:
        """Lasting work is not cancelled: whoever comes later gets its result."""
        self.flights = Flights(lasting=True)
        first = self.join()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        second = self.join()
        self.work.begun[0].callback("done")
        self.assertEqual((self.successResultOf(second), self.work.cancelled), ("done", 0))

    def test_nobody_waits(self) -> None:
        """Lasting work that fails while nobody waits says so, unless failing was to be expected."""
        self.flights = Flights(lasting=True)
        for error, logged in ((Unavailable(), 0), (ZeroDivisionError(), 1)):
            waiter = self.join()
            waiter.cancel()
            self.failureResultOf(waiter, CancelledError)
            self.work.begun[-1].errback(error)
            self.assertEqual(len(self.flushLoggedErrors()), logged)


class IdentityTests(SynchronousTestCase):
    """Identities that are kept."""

    def setUp(self) -> None:
        self.clock = at(NOW)
        self.known = Identities(self.clock)
        self.asked = 0

    async def find_out(self) -> Identity:
        self.asked += 1
        return Identity("here", f"user-{self.asked}", fresh_until=self.clock.seconds() + 60)

    def get(self, token: str = "token") -> str:
        identity = self.successResultOf(running(self.known.get(token, self.find_out)))
        return str(identity.username)

    def test_kept_T41(self) -> None:
        """An identity is kept until it says itself."""
        self.assertEqual(self.get(), "user-1")
        self.clock.advance(59)
        self.assertEqual(self.get(), "user-1")
        self.clock.advance(1)
        self.assertEqual(self.get(), "user-2")

    def test_absolute(self) -> None:
        """What is kept says until when it was fresh, so nothing is fresh twice."""
        self.get()
        self.clock.advance(59)
        identity = self.successResultOf(running(self.known.get("token", self.find_out)))
        self.assertEqual(identity.fresh_until, NOW + 60)

    def test_credentials_T40(self) -> None:
        """Each credential has its own."""
        self.assertNotEqual(self.get("one"), self.get("two"))

    def test_secret(self) -> None:
        """The credential itself is not kept."""
        self.get("SECRET")
        self.assertNotIn(b"SECRET", b"".join(self.known._known))
        self.assertNotIn("SECRET", repr(self.known))

    def test_failures_T44(self) -> None:
        """Neither refusals nor outages are kept."""

        async def fail(error: Exception) -> Identity:
            raise error

        for error in (Rejected(), Unavailable()):
            deferred = running(self.known.get("token", partial(fail, error)))
            self.failureResultOf(deferred, type(error))
        self.assertEqual(self.get(), "user-1")

    def test_bounded_T43(self) -> None:
        """However many credentials come, only so many are kept."""
        for number in range(10_050):
            self.get(str(number))
        self.assertLessEqual(len(self.known._known), 10_000)
