"""Revocations as values: which credentials they concern, when they count, how they are stored."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from authotron.model import revocation
from authotron.model.authentication import Acting, Authentication, PresentedToken
from authotron.model.identity import Identity
from authotron.model.records import Record
from authotron.model.revocation import KEPT_AFTER_END, KIND, Revocation
from authotron.model.token import Grant, Token

NOW = 1_800_000_000.0
ALICE = Identity("internal", "alice")
BOB = Identity("internal", "bob")


class CountsTests(SynchronousTestCase):
    """When a revocation counts."""

    def test_moments(self) -> None:
        """A revocation counts from C{active_from} on, and from C{until} on no more."""
        bounded = Revocation("r", token="t", active_from=10, until=20)
        counted = [bounded.counts(now) for now in (9.9, 10, 19.9, 20)]
        self.assertEqual(counted, [False, True, True, False])
        self.assertTrue(Revocation("r", token="t").counts(0))

    def test_issued_before(self) -> None:
        """A token of unknown age counts as issued before; a password is not issued at all."""
        since = Revocation("r", realm="internal", username="alice", issued_before=100)
        ages = [PresentedToken(issued=each) for each in (99.9, 100.0, None)]
        self.assertEqual([since.concerns_issue(each) for each in ages], [True, False, True])
        self.assertFalse(since.concerns_issue(None))
        self.assertTrue(evolve(since, issued_before=None).concerns_issue(None))

    def test_owner(self) -> None:
        """The owner of a token is the identity, or the one that acts in its name."""
        mine = Revocation("r", token="t", realm="internal", username="alice")
        acting = Authentication(BOB, token=PresentedToken("t", actors=(Acting(ALICE, "staff"),)))
        found = [Authentication(ALICE), Authentication(BOB), acting]
        self.assertEqual([mine.concerns_owner(each) for each in found], [True, False, True])
        self.assertTrue(Revocation("r", token="t").concerns_owner(Authentication(BOB)))


class RecordTests(SynchronousTestCase):
    """How a token store keeps revocations."""

    def test_round_trip(self) -> None:
        """The record of a revocation contains all of it, and stays a day after its end."""
        for each in (
            Revocation("a", "t", "internal", "alice", None, NOW, None, NOW, NOW + 1, "why", "me"),
            Revocation("b", claims='"[[[[[[[[[[" in claims.role', created=NOW, issued_before=0.5),
            Revocation("c", realm="r", username="u"),
        ):
            record = each.record()
            self.assertEqual(revocation.of_record(record), each)
            self.assertEqual(record.kind, KIND)
            until = None if each.until is None else each.until + KEPT_AFTER_END
            self.assertEqual(record.until, until)

    def test_damaged(self) -> None:
        """A record that does not say which credentials are revoked is no revocation."""
        for content in (
            "",
            "[]",
            "{}",
            '{"realm": "internal"}',
            '{"token": 1}',
            '{"token": ""}',
            '{"realm": "", "username": ""}',
            '{"token": "t", "until": "x"}',
            '{"token": "t", "until": true}',
            '{"token": "t", "token": "u"}',
            "{" * 5_000,
        ):
            self.assertRaises(ValueError, revocation.of_record, Record(KIND, "a", content))

    def test_newer_versions(self) -> None:
        """Keys that this version does not know are ignored, so that the revocation counts."""
        found = revocation.of_record(Record(KIND, "a", '{"token": "t", "color": "red"}'))
        self.assertEqual(found, Revocation("a", "t"))

    def test_ids_sort_by_age(self) -> None:
        """The id of a later revocation is greater."""
        ids = [revocation.new_id(NOW + n) for n in range(3)]
        self.assertEqual(ids, sorted(ids))
        self.assertEqual(len({revocation.new_id(NOW) for _ in range(100)}), 100)

    def test_end_of_a_token(self) -> None:
        """A token is revoked until it has expired, or for 366 days if its expiry is unknown."""
        found = revocation.of_token("t", ("internal", "alice"), NOW, NOW + 10, "", "")
        self.assertGreater(found.until or 0, NOW + 10)
        unknown = revocation.of_token("t", ("internal", "alice"), NOW, None, "", "")
        self.assertEqual(unknown.until, NOW + 366 * 86_400)

    def test_deleted_api_token_of_an_owner_in_any_spelling(self) -> None:
        """The revocation of a deleted API token names no owner, and lasts until the token ends."""
        token = Token("0vUSEIBdKSfL", "", ALICE, NOW, Grant(expires=NOW + 60))
        found = revocation.of_api_token(token, NOW, "me")
        self.assertEqual((found.token, found.owner), ("0vUSEIBdKSfL", None))
        self.assertGreater(found.until or 0, NOW + 60)

    def test_words(self) -> None:
        """Logs say in words what a revocation is about."""
        said = [
            Revocation("a", "t", "internal", "alice").about,
            Revocation("a", realm="internal", username="alice").about,
            Revocation("a", realm="internal", username="alice", issued_before=1).about,
            Revocation("a", claims="true").about,
        ]
        self.assertEqual(
            said,
            [
                "token t of alice in realm internal",
                "the credentials of alice in realm internal",
                "the tokens of alice in realm internal",
                "credentials of identities for which true",
            ],
        )
