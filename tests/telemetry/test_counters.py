"""Counters and histograms."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.telemetry import counters
from authotron.telemetry.counters import BOUNDS, Durations, Tally

SECONDS = some.sampled_from(BOUNDS) | some.floats(0, 20)


class TallyTests(SynchronousTestCase):
    """Events are sorted into buckets many at once."""

    @given(some.lists(SECONDS, max_size=40), some.integers(1, 7))
    def test_each_event_is_in_its_bucket(self, events: list[float], most: int) -> None:
        """Each duration is counted in the first bucket whose bound is not below the duration."""
        tally, expected = Tally(Durations()), [0] * (len(BOUNDS) + 1)
        self.patch(counters, "_MOST_NEW", most)
        for seconds in events:
            tally.add(seconds)
            expected[bisect_left(BOUNDS, seconds)] += 1
        tally.settle()
        self.assertEqual(tally.durations.buckets, expected)
        self.assertEqual(tally.number, len(events))
        self.assertAlmostEqual(tally.durations.nanoseconds / 1e9, sum(events), delta=1e-6)

    def test_few_events_wait(self) -> None:
        """However many events are counted, only so many wait for their buckets."""
        tally = Tally(Durations())
        for _ in range(1000):
            tally.add(0.5)
        self.assertLess(len(tally._new), counters._MOST_NEW)

    def test_taken_events(self) -> None:
        """A tally takes the events of another one that are not sorted yet, too."""
        mine, other = Tally(Durations()), Tally(Durations())
        other.add(0.5)
        mine.take(other)
        self.assertEqual((mine.number, sum(mine.durations.buckets)), (1, 1))
