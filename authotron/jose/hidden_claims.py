"""Encrypt the parts of the gateway's own tokens that only the gateway may read."""

from __future__ import annotations

import os

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from authotron.jose.keys import base64url
from authotron.jose.unverified import decode_base64url
from authotron.model.errors import Rejected

_NONCE = 12
"""Number of bytes of a nonce of AES-GCM (NIST SP 800-38D section 8.2.2)."""


@frozen
class HiddenClaims:
    """
    Encrypts claims with AES-256-GCM, under a key that is derived from a secret of the gateway (RFC
    5869).

    @ivar _purpose: the name of the use to which the key is limited.
    """

    _secret: bytes = field(repr=False)
    _purpose: bytes
    _cipher: AESGCM = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        key = HKDF(SHA256(), 32, None, self._purpose).derive(self._secret)
        object.__setattr__(self, "_cipher", AESGCM(key))

    def hide(self, content: bytes, id_: str) -> str:
        """
        Encrypt a part of a token.

        @param id_: the id of the token; in a token with another id the result cannot be decrypted.
        """
        nonce = os.urandom(_NONCE)
        return base64url(nonce + self._cipher.encrypt(nonce, content, id_.encode())).decode()

    def show(self, hidden: str, id_: str) -> bytes:
        """
        Decrypt a part of a token.

        @raise Rejected: the part was encrypted with another key, or for a token with another id.
        """
        try:
            raw = decode_base64url(hidden)
            return self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], id_.encode())
        except (InvalidTag, ValueError):
            raise Rejected(
                "the token was encrypted with a key that is not in use any more"
            ) from None
