"""
The format of Token Status Lists: an array of small numbers, one for each token, in a signed JWT
(draft-ietf-oauth-status-list).
"""

from __future__ import annotations

import zlib
from typing import Any

from attrs import define, field

from authotron.jose.keys import base64url

TYPE = "statuslist+jwt"
"""The header C{typ} of the JWT that contains a list."""

VALID, INVALID, SUSPENDED = 0, 1, 2
"""The statuses that the draft defines."""


@define(eq=False)
class Statuses:
    """
    An array of statuses.

    @ivar size: the number of statuses.
    @ivar bits: the number of bits of each status: 1, 2, 4 or 8.
    """

    size: int
    bits: int = 1
    packed: bytearray = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.packed = bytearray(-(-self.size * self.bits // 8))

    def __getitem__(self, index: int) -> int:
        place, shift = self._place(index)
        return (self.packed[place] >> shift) & self._mask

    def __setitem__(self, index: int, status: int) -> None:
        if not 0 <= status <= self._mask:
            raise ValueError(f"a status of {self.bits} bits is 0 to {self._mask}")
        place, shift = self._place(index)
        self.packed[place] = (self.packed[place] & ~(self._mask << shift)) | (status << shift)

    @property
    def _mask(self) -> int:
        return (1 << self.bits) - 1

    def _place(self, index: int) -> tuple[int, int]:
        """
        Return the byte that contains a status, and the number of lower bits in this byte, which
        belong to statuses of lower indices.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"the list has {self.size} statuses")
        place, number = divmod(index * self.bits, 8)
        return place, number

    def encoded(self) -> dict[str, Any]:
        """Return the claim C{status_list}, which contains the compressed array of statuses."""
        return encoded(bytes(self.packed), self.bits)


def encoded(packed: bytes, bits: int = 1) -> dict[str, Any]:
    """Return the claim C{status_list} for an array of statuses."""
    return {"bits": bits, "lst": base64url(zlib.compress(packed, 9)).decode()}


def list_claims(uri: str, status_list: dict[str, Any], now: float, ttl: int) -> dict[str, Any]:
    """
    Return the claims of the JWT that contains a list.

    @param uri: the URL of the list, to which tokens refer.
    @param ttl: seconds for which a backend may use the list. The JWT is valid for twice as many
        seconds as C{ttl} says.
    """
    issued = int(now)
    times = {"iat": issued, "exp": issued + 2 * ttl, "ttl": ttl}
    return {"sub": uri, **times, "status_list": status_list}
