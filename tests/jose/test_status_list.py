"""The format of Token Status Lists."""

from __future__ import annotations

import zlib

from twisted.trial.unittest import SynchronousTestCase

from authotron.jose.status_list import INVALID, SUSPENDED, Statuses, list_claims
from authotron.jose.unverified import decode_base64url


class StatusesTests(SynchronousTestCase):
    """How statuses are packed and compressed."""

    def packed(self, bits: int, listed: list[int]) -> Statuses:
        statuses = Statuses(len(listed), bits)
        for index, status in enumerate(listed):
            statuses[index] = status
        return statuses

    def test_one_bit(self) -> None:
        """The example of the draft with statuses of one bit."""
        statuses = self.packed(1, [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1])
        self.assertEqual(statuses.packed.hex(), "b9a3")
        self.assertEqual(statuses.encoded(), {"bits": 1, "lst": "eNrbuRgAAhcBXQ"})

    def test_two_bits(self) -> None:
        """The example of the draft with statuses of two bits."""
        statuses = self.packed(2, [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3])
        self.assertEqual(statuses.packed.hex(), "c944f9")
        self.assertEqual(statuses.encoded(), {"bits": 2, "lst": "eNo76fITAAPfAgc"})

    def test_each_status(self) -> None:
        """A status is read as it was written, and changes no other status."""
        for bits in (1, 2, 4, 8):
            statuses = Statuses(11, bits)
            statuses[7] = (1 << bits) - 1
            self.assertEqual([statuses[at] for at in range(11) if at != 7], [0] * 10)
            self.assertEqual(statuses[7], (1 << bits) - 1)
            statuses[7] = 0
            self.assertEqual(bytes(statuses.packed), bytes(len(statuses.packed)))

    def test_bounds(self) -> None:
        """Neither an index behind the end of the list nor a status of too many bits is accepted."""
        statuses = Statuses(9)
        for index in (-1, 9):
            self.assertRaises(IndexError, statuses.__getitem__, index)
        self.assertRaises(ValueError, statuses.__setitem__, 0, SUSPENDED)

    def test_size(self) -> None:
        """A list of 1,048,576 tokens, one in 100 of which is revoked, takes less than 16 KiB."""
        statuses = Statuses(2**20)
        for index in range(0, 2**20, 100):
            statuses[index] = INVALID
        lst = statuses.encoded()["lst"]
        self.assertLess(len(lst), 16 * 1024)
        self.assertEqual(zlib.decompress(decode_base64url(lst)), bytes(statuses.packed))

    def test_claims(self) -> None:
        """The JWT of a list names its URL, and how long a backend may use the list."""
        claims = list_claims("https://gate/statuslists/1", {"bits": 1}, 1000.7, 60)
        self.assertEqual(
            claims,
            {
                "sub": "https://gate/statuslists/1",
                "iat": 1000,
                "exp": 1120,
                "ttl": 60,
                "status_list": {"bits": 1},
            },
        )
