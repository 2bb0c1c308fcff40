"""The TLS certificate of a client, as a proxy states it in its authentication request."""

from __future__ import annotations

import hashlib
from binascii import a2b_base64, b2a_base64

from attrs import frozen

LARGEST = 16 * 1024
"""Maximum number of bytes of one certificate in DER."""

MOST_ISSUERS = 8
"""Maximum number of certificates of intermediate authorities that a proxy may state."""

_SEPARATOR = ":"


@frozen
class ClientCertificate:
    """
    The TLS certificate of a client, as a proxy states it.

    The proxy has verified that the client has the private key of the certificate. The gateway
    verifies which authority has signed the certificate, and for which purpose the certificate may
    be used.

    @ivar der: the certificate in DER.
    @ivar issuers: the certificates of intermediate authorities, in DER, that the client has sent
        together with its own certificate.
    """

    der: bytes
    issuers: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"ClientCertificate({self.fingerprint})"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 hash of the certificate, in hexadecimal digits."""
        return hashlib.sha256(self.der).hexdigest()

    def as_word(self) -> str:
        """
        Return all certificates as one string, which is the value of the credential: the DER bytes
        of each certificate in Base64, separated by colons.
        """
        every = (self.der, *self.issuers)
        return _SEPARATOR.join([b2a_base64(each, newline=False).decode("ascii") for each in every])


def from_word(word: str) -> ClientCertificate:
    """
    Parse the string of certificates that L{ClientCertificate.as_word} returns.

    @raise ValueError: the string does not consist of Base64 and colons.
    """
    der, *issuers = [a2b_base64(each, strict_mode=True) for each in word.split(_SEPARATOR)]
    return ClientCertificate(der, tuple(issuers))


def bounded(certificates: list[bytes]) -> ClientCertificate:
    """
    Return the certificate of a client, which is the first one of several certificates in DER.

    @raise ValueError: there is no certificate, a certificate is empty or too long, or there are too
        many certificates.
    """
    if not 0 < len(certificates) <= 1 + MOST_ISSUERS:
        raise ValueError(f"there is no certificate, or more than {MOST_ISSUERS} beside the first")
    if not all(0 < len(each) <= LARGEST for each in certificates):
        raise ValueError(f"a certificate is empty, or has more than {LARGEST} bytes")
    return ClientCertificate(certificates[0], tuple(certificates[1:]))
