"""Peppers, the secret keys with which API tokens are hashed."""

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
    The secret keys with which API tokens are hashed, the newest first.

    Without the peppers a copy of the token store is useless to an attacker. Every stored hash names
    the pepper that it was made with, so an API token can still be verified after a newer pepper was
    added.
    """

    _keys: Sequence[bytes] = field(repr=False)
    _named: Sequence[tuple[str, hmac.HMAC]] = field(init=False, eq=False, repr=False)
    """
    For each pepper the beginning of the hashes that are made with it, and a keyed hash, of which a
    copy takes two thirds of the time of a new one.
    """

    @_named.default
    def _name_all(self) -> Sequence[tuple[str, hmac.HMAC]]:
        return [(_beginning(key), hmac.new(key, digestmod="sha256")) for key in self._keys]

    def hash(self, text: str) -> str:
        """Hash an API token with the newest pepper, to store the hash."""
        return _hash(*self._named[0], text)

    def plain_tokens(self, text: str) -> Iterator[PlainToken]:
        """
        Yield an imported token several times, each time with the id that is derived from the token
        by one pepper.

        An imported token contains no id, so a keyed hash of the token is used as its id, from which
        the token cannot be guessed without the pepper.
        """
        for key in self._keys:
            digest = hmac.digest(key, b"authotron id " + text.encode(), "sha256")
            number = int.from_bytes(digest, "big")
            yield PlainToken(_base62(number, _SECONDS_DIGITS + _CHANCE_DIGITS), text)

    def has_mark(self, mark: str, text: str) -> bool:
        """
        Whether the last 32 bits of the hash of an API token equal those which a store keeps in its
        record of a revoked token.
        """
        return any(mark_of(_hash(*named, text)) == mark for named in self._named)

    def derived(self, purpose: bytes) -> bytes:
        """Derive a key for another purpose from the newest pepper, without revealing the pepper."""
        return hmac.digest(self._keys[0], purpose, "sha256")

    def fits(self, stored: str, text: str) -> bool:
        """
        Whether a stored hash is the hash of an API token; the time for this does not depend on the
        result.
        """
        found = False
        for beginning, keyed in self._named:
            found |= hmac.compare_digest(_hash(beginning, keyed, text), stored)
        return found

    def made(self, stored: str) -> bool:
        """Whether a stored hash of an API token was made with one of the known peppers."""
        return any(stored.startswith(beginning) for beginning, _ in self._named)

    def is_hash(self, stored: str) -> bool:
        """Whether a stored text is a hash that names the pepper it was made with."""
        return stored.startswith(_ALGORITHM)


_ALGORITHM = "hs256:"


def _beginning(key: bytes) -> str:
    """Return the beginning of all hashes that are made with a pepper; it names the pepper."""
    return f"{_ALGORITHM}{sha256(b'authotron pepper ' + key).hexdigest()[:8]}:"


def _hash(beginning: str, keyed: hmac.HMAC, text: str) -> str:
    mac = keyed.copy()
    mac.update(text.encode())
    return beginning + mac.hexdigest()
