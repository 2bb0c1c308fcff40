"""Very many values are sorted in pieces."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency.sorting import part_in_order


class PartInOrderTests(SynchronousTestCase):
    """A part of the distinct values in several batches."""

    def part(self, batches: list[list[int]], start: int, most: int) -> tuple[list[int], int]:
        clock = Clock()
        found = Deferred.fromCoroutine(part_in_order(clock, batches, start, most))
        clock.advance(0)
        return self.successResultOf(found)

    def test_parts(self) -> None:
        """The values are in order, each once, whichever batch they are in."""
        batches = [[3, 1], [], [2, 3, 2], [5, 4]]
        self.assertEqual(self.part(batches, 0, 10), ([1, 2, 3, 4, 5], 5))
        self.assertEqual(self.part(batches, 1, 2), ([2, 3], 5))
        self.assertEqual(self.part(batches, 5, 2), ([], 5))
        self.assertEqual(self.part(batches, 10**9, 2), ([], 5))
        self.assertEqual(self.part([], 0, 2), ([], 0))

    def test_many(self) -> None:
        """More values than are sorted in one turn have the same order."""
        values = [n * 7919 % 5003 for n in range(5003)]
        batches = [values[place : place + 3] for place in range(0, 5003, 2)]
        for start in (0, 1, 1023, 1024, 1025, 5000):
            self.assertEqual(self.part(batches, start, 5), ([*range(start, 5003)][:5], 5003))

    def test_other_work(self) -> None:
        """Other work is done before all values are sorted."""
        clock = Clock()
        found = Deferred.fromCoroutine(part_in_order(clock, [[n] for n in range(4000)], 3500, 1))
        self.assertNoResult(found)
        clock.advance(0)
        self.assertEqual(self.successResultOf(found), ([3500], 4000))
