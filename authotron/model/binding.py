"""What a client must prove to have besides a bound token: a private key, or a TLS certificate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_KEY, _CERTIFICATE = "jkt", "x5t#S256"
"""
The members of the claim C{cnf} that the gateway enforces: the thumbprint of a key (RFC 9449 section
6.1), and the thumbprint of a certificate (RFC 8705 section 3.1).
"""

_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
"""A regular expression of SHA-256 hashes in canonical base64url without padding."""


class Binding(NamedTuple):
    """
    The key and the certificate to which a token is bound; a token with both needs both proofs.

    @ivar jkt: the thumbprint of a public key (RFC 7638) in base64url: with each request the client
        must send a proof that it has signed with the private key (DPoP, RFC 9449).
    @ivar x5t: the SHA-256 hash of a certificate in DER, in base64url: the client must use this
        certificate for its TLS connections (RFC 8705).
    """

    jkt: str | None = None
    x5t: str | None = None

    @property
    def confirmation(self) -> dict[str, str]:
        """The value of the claim C{cnf} (RFC 7800) that states this binding."""
        members = ((_KEY, self.jkt), (_CERTIFICATE, self.x5t))
        return {name: value for name, value in members if value is not None}


class Unproven(Exception):
    """
    The client has not proven to have the certificate or the key to which its token is bound.

    The message of the exception is written to the log, and contains nothing that the client sent.
    """


class ProofNeeded(Exception):
    """
    A token is bound to a key, and the proof that the client has sent with its request was not
    verified yet.
    """


def from_confirmation(value: object) -> Binding:
    """
    Return the binding that a claim C{cnf} states.

    @raise ValueError: the claim is malformed, or has a member that the gateway cannot enforce.
    """
    if not isinstance(value, Mapping) or not value:
        raise ValueError("cnf is not an object with members")
    if not value.keys() <= {_KEY, _CERTIFICATE}:
        raise ValueError(f"cnf has a member other than {_KEY} and {_CERTIFICATE}")
    for name, each in value.items():
        if not (isinstance(each, str) and _THUMBPRINT.fullmatch(each)):
            raise ValueError(f"{name} in cnf is not a SHA-256 thumbprint in base64url")
    return Binding(value.get(_KEY), value.get(_CERTIFICATE))
