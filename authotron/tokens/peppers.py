"""The keys under which API tokens are hashed."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from hashlib import sha256

from attrs import field, frozen

from authotron.model.token import (
    _CHANCE_DIGITS,
    _SECONDS_DIGITS,
    PlainToken,
    _base62,
    mark_of,
)


@frozen
class Peppers:
    """
    The keys under which tokens are hashed, newest first.

    What is stored is worth nothing without them. A hash names its key, so that older ones go on
    being verified while a newer one is in use.
    """

    _keys: Sequence[bytes] = field(repr=False)

    def hash(self, text: str) -> str:
        """What to store of a token."""
        return _hashed(self._keys[0], text)

    def named(self, text: str) -> Iterator[PlainToken]:
        """
        A token that has no id of its own, with the one that follows from it under each key.

        Without the keys nobody can tell from an id whether a guess is right.
        """
        for key in self._keys:
            digest = hmac.digest(key, b"authotron id " + text.encode(), "sha256")
            number = int.from_bytes(digest, "big")
            yield PlainToken(_base62(number, _SECONDS_DIGITS + _CHANCE_DIGITS), text)

    def has_mark(self, mark: str, text: str) -> bool:
        """Whether the token of which only a mark is known is this one."""
        return any(mark_of(_hashed(key, text)) == mark for key in self._keys)

    def fits(self, stored: str, text: str) -> bool:
        """Whether it is the token of which this is stored; equally slow either way."""
        found = False
        for key in self._keys:
            found |= hmac.compare_digest(_hashed(key, text), stored)
        return found


def _hashed(key: bytes, text: str) -> str:
    name = sha256(b"authotron pepper " + key).hexdigest()[:8]
    return f"hs256:{name}:{hmac.digest(key, text.encode(), 'sha256').hex()}"
