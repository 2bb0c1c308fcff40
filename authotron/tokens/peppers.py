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
    The keys under which API tokens are hashed, newest first.

    A copy of the store is useless without these keys. Every hash names the key it was made with,
    so older keys still verify API tokens after a newer key was added.
    """

    _keys: Sequence[bytes] = field(repr=False)

    def hash(self, text: str) -> str:
        """Return the hash that is stored of an API token, made with the newest key."""
        return _hash(self._keys[0], text)

    def plain_tokens(self, text: str) -> Iterator[PlainToken]:
        """
        Yield an imported token with the id that is derived from it under each key.

        An imported token has no id of its own. The id is a keyed hash, so without the keys it does
        not help to guess the token.
        """
        for key in self._keys:
            digest = hmac.digest(key, b"authotron id " + text.encode(), "sha256")
            number = int.from_bytes(digest, "big")
            yield PlainToken(_base62(number, _SECONDS_DIGITS + _CHANCE_DIGITS), text)

    def has_mark(self, mark: str, text: str) -> bool:
        """Whether a revoked API token, of which only a mark is stored, is this one."""
        return any(mark_of(_hash(key, text)) == mark for key in self._keys)

    def fits(self, stored: str, text: str) -> bool:
        """Whether a stored hash is that of an API token; takes equally long either way."""
        found = False
        for key in self._keys:
            found |= hmac.compare_digest(_hash(key, text), stored)
        return found


def _hash(key: bytes, text: str) -> str:
    name = sha256(b"authotron pepper " + key).hexdigest()[:8]
    return f"hs256:{name}:{hmac.digest(key, text.encode(), 'sha256').hex()}"
