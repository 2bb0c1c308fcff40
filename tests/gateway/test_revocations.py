"""Which clients the known revocations concern, and what happens if they are not known."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway import revocations, revoking
from authotron.gateway.client_claims import ClientClaims
from authotron.gateway.records import KindChanges
from authotron.gateway.revocations import RevocationIndex, Revocations
from authotron.model.authentication import Acting, Authentication, PresentedToken
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Identity
from authotron.model.records import Record
from authotron.model.revocation import Concern, Revocation
from authotron.policy.claims import Source
from authotron.testing.worlds import NOW, clock_at

ALICE = Identity("internal", "alice", ("reader",), {"department": "sales"})
BOB = Identity("internal", "bob", ("writer",))


class Uncounted:
    """Counts no claims."""

    def claims_dropped(self, _provider: str, _reason: str, _number: int) -> None:
        """Do nothing."""


class RevocationsCase(SynchronousTestCase):
    """The revocations of a process."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.swept: list[Concern | None] = []
        self.index = RevocationIndex(self.clock.seconds, self.swept.append)
        source = Source("jwt", "idp", "gate")
        self.revocations = Revocations(
            ClientClaims({"idp": source}, "gate", Uncounted()), self.index
        )
        self.index.note_age(0.0, None)
        self.swept.clear()

    def add(self, **given: Any) -> Revocation:
        """Apply a new revocation."""
        new = Revocation(f"r{len(self.index.known)}", **given)
        self.index.apply(KindChanges([new.record()]))
        return new

    def withdraw(self, *ids: str) -> None:
        self.index.apply(KindChanges((), ids))

    def revoked(self, identity: Identity = ALICE, token: PresentedToken | None = None) -> str:
        """Return the id of the revocation that concerns a client, or an empty string."""
        found = self.revocations.of(Authentication(identity, "idp", token=token))
        return "" if found is None else found.id


class ConcernTests(RevocationsCase):
    """Whom revocations concern."""

    def test_token(self) -> None:
        """A revoked token, and each token that was derived from it, is refused."""
        self.add(token="t")
        self.assertEqual(self.revoked(token=PresentedToken("t")), "r0")
        self.assertEqual(self.revoked(token=PresentedToken("u", ancestors=("s", "t"))), "r0")
        for other in (PresentedToken("u"), PresentedToken(None), None):
            self.assertEqual(self.revoked(token=other), "")

    def test_token_of_another_owner(self) -> None:
        """The revocation of a token does not concern a token of another user with the same id."""
        self.add(token="t", realm="internal", username="alice")
        self.assertEqual(self.revoked(token=PresentedToken("t")), "r0")
        self.assertEqual(self.revoked(BOB, PresentedToken("t")), "")
        self.assertEqual(
            self.revoked(BOB, PresentedToken("t", actors=(Acting(ALICE, "staff"),))), "r0"
        )

    def test_owner(self) -> None:
        """All credentials of a revoked owner are refused, and no others."""
        self.add(realm="internal", username="alice")
        self.assertEqual(self.revoked(), "r0")
        self.assertEqual(self.revoked(token=PresentedToken("t", NOW + 5.0)), "r0")
        self.assertEqual(self.revoked(BOB), "")
        self.assertEqual(self.revoked(Identity("external", "alice")), "")
        self.assertEqual(
            self.revoked(BOB, PresentedToken("t", actors=(Acting(ALICE, "staff"),))), "r0"
        )

    def test_login_again(self) -> None:
        """A revocation with a time of issue spares newer tokens and passwords."""
        self.add(realm="internal", username="alice", issued_before=NOW)
        self.assertEqual(self.revoked(), "")
        self.assertEqual(self.revoked(token=PresentedToken("t", NOW - 1.0)), "r0")
        self.assertEqual(self.revoked(token=PresentedToken("t", None)), "r0")
        self.assertEqual(self.revoked(token=PresentedToken("t", float(NOW))), "")

    def test_claims(self) -> None:
        """An expression concerns the identities for which it is true."""
        self.add(claims='"reader" in claims.role && "idp" in claims["@source:name"]')
        self.assertEqual((self.revoked(), self.revoked(BOB)), ("r0", ""))

    def test_missing_claim(self) -> None:
        """An expression does not concern identities without the claim that it reads."""
        self.add(claims='"sales" in claims.department')
        self.assertEqual((self.revoked(), self.revoked(BOB)), ("r0", ""))

    def test_expression_without_value(self) -> None:
        """An expression that cannot be evaluated for another reason concerns the identity."""
        self.add(claims='claims.role[7] == "reader"')
        self.assertEqual(self.revoked(), "r0")

    def test_expressions_are_evaluated_once(self) -> None:
        """The expressions are evaluated once for equal claims, until an expression changes."""
        self.add(claims='"writer" in claims.role')
        evaluated: list[object] = []
        concerns = revocations._ClaimsCondition.concerns

        def counted(condition: Any, known: Any) -> bool:
            evaluated.append(known)
            return concerns(condition, known)

        self.patch(revocations._ClaimsCondition, "concerns", counted)
        for _ in range(3):
            self.assertEqual((self.revoked(), self.revoked(BOB)), ("", "r0"))
        self.assertEqual(len(evaluated), 2)
        self.add(claims='"reader" in claims.role')
        self.assertEqual((self.revoked(), self.revoked(BOB)), ("r1", "r0"))
        self.withdraw("r0")
        self.assertEqual((self.revoked(), self.revoked(BOB)), ("r1", ""))

    def test_remembered_for_few(self) -> None:
        """Of many identities only some are remembered."""
        self.patch(revocations, "_MOST_REMEMBERED", 3)
        self.add(claims='"reader" in claims.role')
        for number in range(10):
            self.revoked(ALICE._replace(username=f"user{number}"))
        self.assertLessEqual(len(self.index._table._remembered), 3)
        self.assertEqual(self.revoked(), "r0")

    def test_hidden_roles_count_A14(self) -> None:
        """An expression also reads the roles that a credential hides."""
        self.add(claims='"reader" in claims.role')
        hidden = Authentication(ALICE._replace(roles=()), "idp", unrestricted=ALICE)
        self.assertIsNotNone(self.revocations.of(hidden))

    def test_withdrawn(self) -> None:
        """A withdrawn revocation concerns no client any more."""
        for given in (
            {"token": "t"},
            {"realm": "internal", "username": "alice"},
            {"claims": '"reader" in claims.role'},
        ):
            made = self.add(**given)
            self.assertEqual(self.revoked(token=PresentedToken("t")), made.id)
            self.withdraw(made.id)
            self.assertEqual(self.revoked(token=PresentedToken("t")), "")
        self.assertEqual((len(self.index.known), self.index.expressions), (0, []))
        self.assertEqual((self.index.owned, self.index._owned), (0, {}))

    def test_replaced(self) -> None:
        """A record with the id of a known revocation replaces it."""
        self.index.apply(KindChanges([Revocation("a", "t").record()]))
        self.index.apply(KindChanges([Revocation("a", "u").record()]))
        self.assertEqual(self.revoked(token=PresentedToken("t")), "")
        self.assertEqual(self.revoked(token=PresentedToken("u")), "a")

    def test_many(self) -> None:
        """Of 10,000 revocations the one that concerns the client is found."""
        listed = [Revocation(f"r{n}", f"t{n}") for n in range(10_000)]
        self.index.apply(KindChanges([each.record() for each in listed]))
        self.assertEqual(self.revoked(token=PresentedToken("t7000")), "r7000")
        self.assertEqual(len(self.index.known), 10_000)


class TimeTests(RevocationsCase):
    """From when until when revocations count."""

    def test_until(self) -> None:
        """A revocation that has ended concerns no client."""
        self.add(token="t", until=NOW + 10)
        self.clock.advance(9)
        self.assertEqual(self.revoked(token=PresentedToken("t")), "r0")
        self.clock.advance(1)
        self.assertEqual(self.revoked(token=PresentedToken("t")), "")
        self.assertEqual(revoking.listed(self.index, None, NOW + 10.0), [])

    def test_later(self) -> None:
        """A revocation counts from its moment on, when cached decisions are checked again."""
        self.add(token="t", active_from=NOW + 10)
        self.assertEqual((self.revoked(token=PresentedToken("t")), self.swept), ("", []))
        self.clock.advance(9)
        self.index.note_age(0.0, None)
        self.assertEqual(self.swept, [])
        self.clock.advance(1)
        self.assertEqual(self.revoked(token=PresentedToken("t")), "r0")
        self.index.note_age(0.0, None)
        self.assertEqual(len(self.swept), 1)

    def test_clock_that_is_set_back(self) -> None:
        """A revocation that has once counted still counts if the clock is set back."""
        self.add(token="t", active_from=NOW + 10)
        self.clock.advance(10)
        self.index.note_age(0.0, None)
        self.clock.rightNow = NOW - 3_600
        self.assertEqual(self.revoked(token=PresentedToken("t")), "r0")
        self.add(token="u")
        self.assertEqual(self.revoked(token=PresentedToken("u")), "r1")


class SweepTests(RevocationsCase):
    """Which cached decisions are checked again."""

    def test_only_concerned_T42(self) -> None:
        """A new revocation of a token or an owner has the decisions about it checked again."""
        self.add(token="t", realm="internal", username="alice")
        self.add(realm="internal", username="alice")
        owners = {("internal", "alice")}
        self.assertEqual(self.swept, [Concern({"t"}, set()), Concern(set(), owners)])

    def test_expressions_and_withdrawals_concern_all(self) -> None:
        """After a new expression, and after a withdrawal, all decisions are checked again."""
        made = self.add(claims="false")
        self.withdraw(made.id)
        self.assertEqual(self.swept, [None, None])


class UnknownTests(RevocationsCase):
    """If it is not known who is revoked, no client is accepted."""

    def check(self) -> None:
        self.revocations.check(Authentication(ALICE, "idp", token=PresentedToken("t")))

    def test_before_the_first_reading(self) -> None:
        """Before the revocations were read, no client is accepted."""
        self.revocations.index = RevocationIndex(self.clock.seconds, self.swept.append)
        self.assertRaises(Unavailable, self.check)

    def test_rejected(self) -> None:
        """A revoked client is rejected, another one is not."""
        self.check()
        self.add(token="t")
        error = self.assertRaises(Rejected, self.check)
        self.assertIn("r0", str(error))

    def test_lost_store(self) -> None:
        """Known revocations are relied on for C{max_age}, then no client is accepted."""
        self.index.note_age(299.0, "the cable is cut")
        self.check()
        self.index.note_age(300.0, "the cable is cut")
        self.assertEqual(self.swept, [None])
        self.assertRaises(Unavailable, self.check)
        self.index.note_age(0.0, None)
        self.check()

    def test_lost_store_at_once(self) -> None:
        """With C{max_age: 0} no client is accepted once the store cannot be read."""
        self.index.max_age = 0
        self.index.note_age(0.0, None)
        self.check()
        self.index.note_age(0.0, "the cable is cut")
        self.assertRaises(Unavailable, self.check)

    def test_clock_that_is_set_forward(self) -> None:
        """A great age counts only if the store could not be read."""
        self.index.note_age(7_200.0, None)
        self.check()

    def test_unusable_revocation(self) -> None:
        """While a revocation cannot be applied, no client is accepted."""
        for content in ("", '{"claims": "claims.role ="}', '{"claims": "now > now"}'):
            self.index.apply(KindChanges([Record("revocation", "odd", content)]))
            self.assertRaises(Unavailable, self.check)
            self.assertIn("odd", str(self.index.as_json(0.0, None)["problem"]))
            self.withdraw("odd")
            self.check()

    def test_status(self) -> None:
        """Operators see how many revocations are known, their age, and the problem."""
        self.add(token="t")
        self.assertEqual(self.index.as_json(1.23, None), {"known": 1, "age": 1.2})
        self.assertEqual(
            self.index.as_json(None, "the cable is cut"),
            {"known": 1, "age": None, "problem": "the cable is cut"},
        )
