"""The JSON format of the ring of signing keys."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import key_ring_json
from authotron.jose.key_ring import UnreadableRing
from authotron.testing.worlds import NOW
from tests.jose.rings import BY_HAND, ring


class EncodedTests(SynchronousTestCase):
    """A ring as text."""

    def test_round_trip(self) -> None:
        """A ring is read as it was written."""
        for found in (ring("a", "b"), ring("a", "b", plan=BY_HAND).without("b", NOW, BY_HAND)):
            self.assertEqual(key_ring_json.decode(key_ring_json.encode(found)), found)

    def test_infinite(self) -> None:
        """A moment that is not planned is null, because JSON has no infinity."""
        text = key_ring_json.encode(ring("a", "b", plan=BY_HAND))
        self.assertIn('"active_from":null', text)
        self.assertNotIn("Infinity", text)

    def test_unreadable(self) -> None:
        """Texts that are not rings are refused, and a later format by name."""
        good = key_ring_json.encode(ring("a"))
        for text, why in (
            (good.replace('"format":1', '"format":2'), "a later version of authotron"),
            (good.replace("ES256", "ES512"), "damaged"),
            (good.replace('"created"', '"creation"'), "damaged"),
            ('{"format":1,"version":1,"keys":[],"retired":[]}', "without signing keys"),
            ("[]", "damaged"),
            ("", "damaged"),
        ):
            error = self.assertRaises(UnreadableRing, key_ring_json.decode, text)
            self.assertIn(why, str(error))

    def test_private_keys_are_not_printed(self) -> None:
        """The representation of a ring has no private key."""
        self.assertNotIn("the private key", repr(ring("a", "b")))
