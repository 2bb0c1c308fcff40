"""
Seal texts of the gateway, such as the signing keys that gateways share: a reader of the token
store, or of the token, that contains a sealed text learns nothing of the text.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable
from hashlib import sha256

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from authotron.jose.key_ring import UnreadableRing
from authotron.jose.keys import base64url

_VERSION = "1"
_NONCE_BYTES = 12
_INFO = b"authotron: seal of signing keys"

_MOST_LETTERS = 200_000
"""Maximum number of characters of a sealed text that is opened."""


@frozen
class _Key:
    """
    A key for AES-256-GCM (NIST SP 800-38D), and the name by which sealed texts refer to the key.

    @ivar name: the first 8 hexadecimal digits of a hash of the key.
    """

    name: str
    cipher: AESGCM = field(repr=False)


@frozen
class Sealer:
    """
    Seals texts under a secret of the configuration, and opens them.

    The id of the record that contains a sealed text is authenticated with it, so a sealed text
    cannot be moved to another record.
    """

    _keys: tuple[_Key, ...]

    def seal(self, text: str, record: str) -> str:
        """Return a text sealed for the record with an id."""
        key = self._keys[0]
        nonce = os.urandom(_NONCE_BYTES)
        sealed = key.cipher.encrypt(nonce, text.encode(), _associated(record, key.name))
        return f"{_VERSION}.{key.name}.{base64url(nonce + sealed).decode()}"

    def open(self, sealed: str, record: str) -> str:
        """
        Return the text that was sealed for the record with an id.

        @raise UnreadableRing: the text is sealed under another key, or damaged.
        """
        version, _, rest = sealed.partition(".")
        name, _, content = rest.partition(".")
        if version != _VERSION or len(sealed) > _MOST_LETTERS:
            raise UnreadableRing("a later version of authotron has sealed the signing keys")
        key = next((each for each in self._keys if each.name == name), None)
        if key is None:
            raise UnreadableRing(
                "the signing keys in the token store are sealed under another key than "
                "jwt.sealing_key"
            )
        try:
            raw = urlsafe_b64decode(content + "=" * (-len(content) % 4))
            opened = key.cipher.decrypt(
                raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _associated(record, name)
            )
            return opened.decode()
        except (InvalidTag, NotBase64, ValueError):
            raise UnreadableRing("the signing keys in the token store are damaged") from None


def _associated(record: str, name: str) -> bytes:
    return f"{_VERSION}.{name}.{record}".encode()


def sealer(secrets: Iterable[str], purpose: bytes = _INFO) -> Sealer:
    """
    Build a L{Sealer} from secrets of the configuration.

    @param secrets: the secret whose key seals, and then secrets whose keys only open sealed texts.
    @param purpose: what is sealed; a text that was sealed for another purpose cannot be opened.
    """
    return Sealer(tuple(_derive(each, purpose) for each in secrets))


def _derive(secret: str, purpose: bytes) -> _Key:
    raw = HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret.encode())
    return _Key(sha256(purpose + raw).hexdigest()[:8], AESGCM(raw))
