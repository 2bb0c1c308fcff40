"""Long lists in a form that takes little memory."""

from __future__ import annotations

import pickle

from twisted.trial.unittest import SynchronousTestCase

from authotron.config.packed import Packed


class PackedTests(SynchronousTestCase):
    """A packed list."""

    def test_equal_to_a_list(self) -> None:
        """Items keep their order, their number and their places, whatever the pieces are."""
        for length in (0, 1, 200, 201, 1_000):
            items = [(number, str(number)) for number in range(length)]
            packed = Packed.of(iter(items))
            self.assertEqual(([*packed], len(packed)), (items, length))
            self.assertEqual(packed[1:-1], items[1:-1])
            if items:
                self.assertEqual((packed[-1], packed[0]), (items[-1], items[0]))
            self.assertRaises(IndexError, packed.__getitem__, length)

    def test_passed_on_without_unpacking(self) -> None:
        """Another process gets the pieces as they are, and unpacks none of them."""
        packed: Packed[object] = Packed((b"not a pickled list",), 1)
        self.assertEqual(pickle.loads(pickle.dumps(packed)), packed)
