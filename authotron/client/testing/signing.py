"""Signing keys for tests, and JWTs that look as if the gateway had minted them."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from authotron.client.user import User

ISSUER = "https://gateway.test"
"""The issuer of JWTs for which a test chooses no other."""

LIFETIME = 3600


@dataclass(frozen=True)
class SigningKey:
    """A key that signs JWTs: a private key, or a shared secret."""

    kid: str
    algorithm: str
    # The package cryptography has a different key class for each algorithm.
    material: Any = field(repr=False)

    @classmethod
    def generate(cls, algorithm: str = "ES256", kid: str = "") -> SigningKey:
        """
        Generate a key.

        @raise ValueError: the algorithm is not one that the gateway signs with.
        """
        name = kid or secrets.token_hex(4)
        if algorithm == "ES256":
            return cls(name, algorithm, ec.generate_private_key(ec.SECP256R1()))
        if algorithm == "EdDSA":
            return cls(name, algorithm, ed25519.Ed25519PrivateKey.generate())
        if algorithm == "RS256":
            return cls(name, algorithm, rsa.generate_private_key(65537, 2048))
        if algorithm == "HS256":
            return cls("", algorithm, secrets.token_urlsafe(32))
        raise ValueError(f"the gateway does not sign with {algorithm}")

    @property
    def is_shared(self) -> bool:
        """Whether the key is a shared secret, which is never published."""
        return self.algorithm == "HS256"

    def jwk(self) -> dict[str, Any]:
        """
        Return the public key as a JSON Web Key (RFC 7517).

        @raise ValueError: the key is a shared secret.
        """
        if self.is_shared:
            raise ValueError("a shared secret is not published")
        encoders: Mapping[str, Any] = {
            "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm, "RS256": RSAAlgorithm
        }  # fmt: skip
        encoded = encoders[self.algorithm].to_jwk(self.material.public_key())
        return {**json.loads(encoded), "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """
        Return a JWT with exactly the given claims; C{header} contains further members of the JWT's
        header.
        """
        named = {"kid": self.kid, **header} if self.kid else header
        return jwt.encode(dict(claims), self.material, self.algorithm, headers=named)


@cache
def default_key() -> SigningKey:
    """Return the key of JWTs for which a test chooses no other, generated once a process."""
    return SigningKey.generate("ES256", "test")


def claims_of(
    user: User,
    *,
    issuer: str = ISSUER,
    audience: str | list[str] | None = None,
    lifetime: float = LIFETIME,
    now: float | None = None,
) -> dict[str, Any]:
    """Return the claims of the JWT that the gateway mints for a user."""
    issued = int(time.time() if now is None else now)  # noqa: TID251 - only the gateway has a World, with a clock of its own
    claims: dict[str, Any] = {
        "sub": user.subject,
        "iss": issuer,
        "exp": int(issued + lifetime),
        "iat": issued,
        "jti": secrets.token_urlsafe(12),
        "username": user.username,
        "realm": user.realm,
        "roles": list(user.roles),
        "attributes": dict(user.attributes),
        "scopes": {service: list(scopes) for service, scopes in user.scopes.items()},
    }
    return claims if audience is None else {"aud": audience, **claims}


def mint(
    user: User,
    key: SigningKey | None = None,
    *,
    issuer: str = ISSUER,
    audience: str | list[str] | None = None,
    lifetime: float = LIFETIME,
    now: float | None = None,
    **claims: Any,
) -> str:
    """
    Return a JWT of a user, as the gateway mints it.

    @param lifetime: seconds until the JWT expires; a negative number gives an expired JWT.
    @param now: seconds since the epoch at which the JWT is minted.
    @param claims: further claims, or claims to replace; one that is C{None} is left out.
    """
    usual = claims_of(user, issuer=issuer, audience=audience, lifetime=lifetime, now=now)
    chosen = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    return (key or default_key()).sign(chosen)
