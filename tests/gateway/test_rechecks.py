"""Cached decisions after a change of revocations: checked again, and only once."""

from __future__ import annotations

from typing import Any

from authotron.concurrency.waiters import Waiters
from authotron.gateway.outcomes import REFUSED, SUCCESS, UNAVAILABLE
from authotron.model.authentication import Acting, Authentication, PresentedToken
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Identity
from authotron.model.request import Presented
from authotron.model.revocation import Concern
from tests.gateway.test_decisions import VerdictsCase

PRESENTED = Presented(b"Bearer a")
ALICE = Authentication(Identity("internal", "alice"))


class RecheckTests(VerdictsCase):
    """What a cached decision is worth after a revocation."""

    def setUp(self) -> None:
        super().setUp()
        self.checked = 0
        self.error: Exception | None = None
        self.first_read: Waiters[None] | None = None
        self.decisions = self.make(revocations=self)

    def check(self, _found: Authentication) -> None:
        self.checked += 1
        if self.error is not None:
            raise self.error

    async def until_read(self) -> None:
        if self.first_read is not None:
            await self.first_read.join()

    def test_checked_once(self) -> None:
        """A cached decision is not checked for each request."""
        self.assertEqual([self.decide().result for _ in range(5)], [SUCCESS] * 5)
        self.assertEqual(self.checked, 1)

    def test_revoked_T42(self) -> None:
        """After a revocation that concerns the client its next request is refused."""
        self.decide()
        self.error = Rejected("revoked")
        self.decisions.recheck(Concern(owners={("internal", "alice")}))
        outcome = self.decide()
        self.assertEqual((outcome.result, outcome.error), (REFUSED, "invalid_token"))
        self.assertEqual(len(self.oracle.asked), 1)

    def test_not_by_the_fast_path_T42(self) -> None:
        """A decision that has to be checked again is not repeated."""
        self.decide()
        key = self.decisions.key(PRESENTED)
        self.assertIsNotNone(self.decisions.repeat(key, self.clock.seconds()))
        self.decisions.recheck(None)
        self.assertIsNone(self.decisions.repeat(key, self.clock.seconds()))

    def test_others_are_not_checked(self) -> None:
        """Decisions about clients that a revocation does not concern stay as they are."""
        self.decide()
        self.decisions.recheck(Concern({"t"}, {("internal", "bob")}))
        self.decide()
        self.assertEqual((self.checked, self.minted), (1, 1))

    def test_all_are_checked_without_asking(self) -> None:
        """A client that is not revoked gets a new JWT, and no provider is asked again."""
        self.decide()
        self.decisions.recheck(None)
        self.assertEqual(self.decide().result, SUCCESS)
        self.assertEqual((self.checked, self.minted, len(self.oracle.asked)), (2, 2, 1))

    def test_withdrawn(self) -> None:
        """After a withdrawal the refusal of the client is not repeated."""
        self.error = Rejected("revoked")
        self.assertEqual(self.decide().result, REFUSED)
        self.error = None
        self.assertEqual(self.decide().result, REFUSED)
        self.decisions.recheck(None)
        self.assertEqual(self.decide().result, SUCCESS)

    def test_unknown(self) -> None:
        """While revocations are unknown the answer is a 503, which is not cached."""
        self.decide()
        self.error = Unavailable("unknown")
        self.decisions.recheck(None)
        self.assertEqual(self.decide().result, UNAVAILABLE)
        self.error = None
        self.assertEqual(self.decide().result, SUCCESS)
        self.assertEqual(len(self.oracle.asked), 1)

    def test_revoked_while_asking_T42(self) -> None:
        """A client that is revoked while a provider is asked is refused."""
        self.oracle.answer = None
        decision: Any = self.decisions.decide(PRESENTED)
        self.error = Rejected("revoked")
        self.decisions.recheck(Concern(owners={("internal", "alice")}))
        self.oracle.pending[0].callback(ALICE)
        self.assertEqual(self.successResultOf(decision).outcome.result, REFUSED)

    def test_until_read(self) -> None:
        """Requests wait until the revocations have been read for the first time."""
        waiting: Waiters[None] = Waiters()
        self.first_read = waiting
        decision: Any = self.decisions.decide(PRESENTED)
        self.assertNoResult(decision)
        self.first_read = None
        waiting.succeed(None)
        self.assertEqual(self.successResultOf(decision).outcome.result, SUCCESS)

    def test_tokens(self) -> None:
        """A token is concerned by its id, by an ancestor, and by the actor."""
        actors = (Acting(Identity("internal", "robot"), "staff"),)
        for token, concern in (
            (PresentedToken("t"), Concern({"t"})),
            (PresentedToken("u", ancestors=("s", "t")), Concern({"t"})),
            (
                PresentedToken("u", actors=actors),
                Concern(owners={("internal", "robot")}),
            ),
        ):
            self.decisions = self.make(revocations=self)
            self.oracle.answer = ALICE._replace(token=token)
            self.decide()
            before = self.checked
            self.decisions.recheck(Concern({"other"}, {("internal", "other")}))
            self.decide()
            self.assertEqual(self.checked, before)
            self.decisions.recheck(concern)
            self.decide()
            self.assertEqual(self.checked, before + 1, token)
