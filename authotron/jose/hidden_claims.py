"""Encrypt the parts of the gateway's own tokens that only the gateway may read."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen

from authotron.jose.key_ring import UnreadableRing
from authotron.jose.sealing import Sealer, sealer
from authotron.model.errors import Rejected


@frozen
class HiddenClaims:
    """Encrypts claims under a secret of the gateway, and decrypts them."""

    _sealer: Sealer = field(repr=False)

    def hide(self, content: str, id_: str) -> str:
        """
        Encrypt a part of a token.

        @param id_: the id of the token; in a token with another id the result cannot be decrypted.
        """
        return self._sealer.seal(content, id_)

    def show(self, hidden: str, id_: str) -> str:
        """
        Decrypt a part of a token.

        @raise Rejected: the part was encrypted with another key, or for a token with another id.
        """
        try:
            return self._sealer.open(hidden, id_)
        except UnreadableRing:
            raise Rejected(
                "the token was encrypted with a key that is not in use any more"
            ) from None


def hidden_claims(secrets: Iterable[str], purpose: bytes) -> HiddenClaims:
    """
    Build the object that encrypts claims, under keys that are derived from secrets (RFC 5869).

    @param secrets: the secret whose key encrypts, and then secrets whose keys only decrypt.
    @param purpose: the use to which the derived keys are limited.
    """
    return HiddenClaims(sealer(secrets, purpose))
