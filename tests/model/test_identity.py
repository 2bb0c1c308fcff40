"""What becomes of an identity that augmenters know more about."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.identity import Addition, Identity, earliest

EXPIRIES = some.lists(some.one_of(some.integers(0, 10**9).map(str), some.sampled_from(["", "x"])))


class EnrichedTests(SynchronousTestCase):
    """Additions of one augmenter after the other."""

    def test_replaced_end_T38(self) -> None:
        """An C{exp} attribute that an augmenter replaces has shortened the life all the same."""
        for said in ("2000", "", "never", "99999999999999999999"):
            with self.subTest(said):
                known = Identity("internal", "alice", attributes={"exp": "1000"})
                later = known.enriched(Addition(attributes={"exp": said}))
                self.assertEqual((later.ends(), later.attributes["exp"]), (1000, said))

    @given(EXPIRIES)
    def test_any_ends_T38(self, texts: list[str]) -> None:
        """Whatever augmenters say one after the other, the earliest of all ends counts."""
        known = Identity("internal", "alice", expires=500_000_000)
        for text in texts:
            known = known.enriched(Addition(attributes={"exp": text, "team": "blue"}))
        said = [float(text) for text in texts if text.isdigit()]
        self.assertEqual(known.ends(), earliest(500_000_000, *said))
