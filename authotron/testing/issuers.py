"""Keys of an identity provider for tests, JWTs that are signed with these keys, and forged JWTs."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any

import jwt
from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authotron.jose import keys
from authotron.testing.worlds import NOW

CLAIMS: Mapping[str, Any] = {
    "iss": "https://idp.example/realms/x",
    "sub": "u-1",
    "preferred_username": "tess",
    "scope": "openid",
    "exp": NOW + 300,
}
"""The claims of a JWT for which a test chooses no other claims."""


@frozen
class Signer:
    """A private key of an identity provider, its key id, and its signature algorithm."""

    kid: str
    algorithm: str
    private: Any = field(repr=False)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """
        Return the public key as a JWK with changed members; a member changed to C{None} is left
        out.
        """
        members = {**keys.as_jwk(self.private.public_key()), "kid": self.kid}
        members["alg"] = self.algorithm
        return {name: value for name, value in {**members, **changes}.items() if value is not None}

    def sign(self, claims: Any = None, header: Mapping[str, Any] | None = None, **more: Any) -> str:
        """
        Build a JWT that is signed with the private key.

        @param claims: all claims of the JWT, or the C{bytes} of its payload; by default L{CLAIMS}.
        @param header: members of the header of the JWT; a C{kid} that is C{None} is left out.
        @param more: claims that are added to L{CLAIMS}; a claim that is C{None} is left out.
        """
        payload = {**CLAIMS, **more} if claims is None else claims
        if isinstance(payload, dict):
            payload = {name: value for name, value in payload.items() if value is not None}
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        headers: dict[str, Any] = {"kid": self.kid, **(header or {})}
        if headers["kid"] is None:
            del headers["kid"]
        return jwt.PyJWS().encode(raw, self.private, headers.pop("alg", self.algorithm), headers)


@cache
def rsa_key(bits: int = 2048, number: int = 0) -> Any:
    """
    Generate an RSA key, or return the key that was generated for the same arguments before.

    @param number: a number that distinguishes several keys of the same size.
    """
    del number
    return rsa.generate_private_key(65537, bits)


IDP = Signer("idp", "RS256", rsa_key())
NEXT = Signer("next", "RS256", rsa_key(number=1))
CURVE = Signer("curve", "ES256", ec.generate_private_key(ec.SECP256R1()))
EDWARDS = Signer("edwards", "EdDSA", ed25519.Ed25519PrivateKey.generate())


def key_set(*signers: Signer) -> dict[str, Any]:
    """Return the JWK set with the public keys of C{signers}."""
    return {"keys": [each.jwk() for each in signers]}


def forged_jwt(header: Any, claims: Any = None, signature: bytes = b"x" * 64) -> str:
    """
    Build a JWT whose signature is not valid.

    @param header: the JSON value of the header of the JWT, or its C{bytes}.
    @param claims: the claims of the JWT, or the C{bytes} of its payload; by default L{CLAIMS}.
    """
    parts = [header, CLAIMS if claims is None else claims]
    raw = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in parts]
    return ".".join(urlsafe_b64encode(each).rstrip(b"=").decode() for each in [*raw, signature])
