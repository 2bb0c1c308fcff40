"""An identity provider's keys, and tokens signed with them or made up."""

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
from tests.worlds import NOW

CLAIMS: Mapping[str, Any] = {
    "iss": "https://idp.example/realms/x",
    "sub": "u-1",
    "preferred_username": "tess",
    "scope": "openid",
    "exp": NOW + 300,
}


@frozen
class Signer:
    """A private key with a name, and the algorithm it is used with."""

    kid: str
    algorithm: str
    private: Any = field(repr=False)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public half as it is published; a change to C{None} leaves a member out."""
        members = {**keys.as_jwk(self.private.public_key()), "kid": self.kid}
        members["alg"] = self.algorithm
        return {name: value for name, value in {**members, **changes}.items() if value is not None}

    def sign(self, claims: Any = None, header: Mapping[str, Any] | None = None, **more: Any) -> str:
        """A token; a claim that is C{None} is left out."""
        said = {**CLAIMS, **more} if claims is None else claims
        if isinstance(said, dict):
            said = {name: value for name, value in said.items() if value is not None}
        text = said if isinstance(said, bytes) else json.dumps(said).encode()
        headers = {"kid": self.kid, **(header or {})}
        return jwt.PyJWS().encode(text, self.private, headers.pop("alg", self.algorithm), headers)


@cache
def rsa_key(bits: int = 2048, number: int = 0) -> Any:
    """Made once; C{number} tells apart those of one size."""
    del number
    return rsa.generate_private_key(65537, bits)


IDP = Signer("idp", "RS256", rsa_key())
NEXT = Signer("next", "RS256", rsa_key(number=1))
CURVE = Signer("curve", "ES256", ec.generate_private_key(ec.SECP256R1()))
EDWARDS = Signer("edwards", "EdDSA", ed25519.Ed25519PrivateKey.generate())


def published(*signers: Signer) -> dict[str, Any]:
    """A key set."""
    return {"keys": [each.jwk() for each in signers]}


def made_up(header: Any, claims: Any = None, signature: bytes = b"x" * 64) -> str:
    """A token that nobody signed; parts that are bytes are taken as they are."""
    parts = [header, CLAIMS if claims is None else claims]
    raw = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in parts]
    return ".".join(urlsafe_b64encode(each).rstrip(b"=").decode() for each in [*raw, signature])
