"""Read asymmetric keys from PEM files, and publish them as JSON Web Keys."""

from __future__ import annotations

import json
from binascii import b2a_base64
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authotron.config.schema import Algorithm
from authotron.model.errors import ConfigError, Problem

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

PUBLIC_MEMBERS = frozenset({"kty", "crv", "n", "e", "x", "y"})
"""Members of a JSON Web Key that are public."""

SMALLEST_RSA = 2048
"""Minimum size of an RSA key in bits (RFC 7518 section 3.3)."""

_NEW_RSA = 3072
"""Size of a generated RSA key in bits."""

_LARGEST_EXPONENT = 1 << 33
"""
The upper bound of the public exponent of an RSA key; verifying with a larger one takes too long.
"""

_P = 2**255 - 19
"""The prime of Curve25519 (RFC 8032 section 5.1)."""

_D = -121665 * pow(121666, -1, _P) % _P
_ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})
"""The y coordinates of the eight points of Ed25519 whose order divides eight (unsafe keys)."""

_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def private_key(algorithm: Algorithm, pem: bytes, at: str) -> PrivateKey:
    """
    Read a private key in PEM.

    @param at: the configuration key that holds the private key, for messages.

    @raise ConfigError: the private key is malformed, unsafe, or does not fit the algorithm.
    """
    kinds = {
        "RS256": rsa.RSAPrivateKey,
        "ES256": ec.EllipticCurvePrivateKey,
        "EdDSA": ed25519.Ed25519PrivateKey,
    }
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _wrong(at, "is not an unencrypted private key in PEM") from None
    if not isinstance(key, kinds[algorithm]):
        raise _wrong(at, f"is not a key for {algorithm}")
    if not _is_on_p256_if_on_a_curve(key):
        raise _wrong(at, "is a key of another curve than P-256")
    _check(key.public_key(), "", at)  # type: ignore[arg-type] # of one of the three kinds
    return key  # type: ignore[return-value] # one of the three kinds


def generate(algorithm: Algorithm) -> str:
    """
    Generate a private key for an algorithm, and return it as PEM (PKCS #8, unencrypted).

    @raise ValueError: the algorithm has no key pairs.
    """
    key: PrivateKey
    match algorithm:
        case "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
        case "RS256":
            key = rsa.generate_private_key(public_exponent=65537, key_size=_NEW_RSA)
        case "EdDSA":
            key = ed25519.Ed25519PrivateKey.generate()
        case _:
            raise ValueError(f"the algorithm {algorithm} has no key pairs")
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode("ascii")


def public_key(path: Path, at: str) -> PublicKey:
    """
    Read a public key, or the public part of a private key, from a PEM file.

    @param at: the configuration key that names the file, for messages.

    @raise ConfigError: the file cannot be read, or its key cannot be used.
    """
    content = _bytes(path, at)
    try:
        if b"PRIVATE" in content:
            key = serialization.load_pem_private_key(content, None).public_key()
        else:
            key = serialization.load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _wrong(at, f"{path} does not hold a key in PEM") from None
    if not isinstance(key, PublicKey) or not _is_on_p256_if_on_a_curve(key):
        raise _wrong(at, f"{path} does not hold a key for RS256, ES256 or EdDSA")
    _check(key, f"the key in {path} ", at)
    return key


def _check(key: PublicKey, subject: str, at: str) -> None:
    try:
        check_strength(key)
    except ValueError as weakness:
        raise _wrong(at, f"{subject}{weakness}") from None


def check_strength(key: PublicKey) -> None:
    """
    Check that only the owner of a key can make signatures with it.

    The cryptographic library itself does not reject unsafe keys. With an RSA exponent of 1 every
    signature is valid, and with an Ed25519 key of small order one signature is valid for many
    messages.

    @raise ValueError: the key is unsafe, because other parties can make valid signatures without
        the private key.
    """
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        if key.key_size < SMALLEST_RSA:
            raise ValueError(f"is an RSA key below {SMALLEST_RSA} bits")
        if not (numbers.n & 1 and numbers.e & 1 and 1 < numbers.e < _LARGEST_EXPONENT):
            raise ValueError("is an RSA key with an unsafe modulus or exponent")
    elif isinstance(key, ed25519.Ed25519PublicKey):
        y = int.from_bytes(key.public_bytes_raw(), "little") & ((1 << 255) - 1)
        if y >= _P or y in _SMALL or not _is_on_edwards25519(y):
            raise ValueError("is an Ed25519 key of small order, or not canonical, or not a point")


def _is_on_edwards25519(y: int) -> bool:
    """
    Whether Ed25519 has a point whose second coordinate is this C{y}: the number C{x² =
    (y² - 1) / (dy² + 1)} must be a square.
    """
    square = y * y % _P
    return pow((square - 1) * (_D * square + 1), (_P - 1) // 2, _P) == 1


def _is_on_p256_if_on_a_curve(key: object) -> bool:
    """
    Whether the curve of a key is P-256, which ES256 requires (RFC 7518); true as well for a key
    that is not an elliptic-curve key.
    """
    curves = ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey
    return not isinstance(key, curves) or isinstance(key.curve, ec.SECP256R1)


def _bytes(path: Path, at: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _wrong(at, f"cannot read {path}: {error.strerror}") from None


def _wrong(at: str, message: str) -> ConfigError:
    return ConfigError([Problem(at, message)])


def as_jwk(key: PublicKey) -> dict[str, Any]:
    """Return a public key as a JSON Web Key (RFC 7517), with its algorithm and use."""
    members: dict[str, Any]
    if isinstance(key, rsa.RSAPublicKey):
        members, algorithm = jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True), "RS256"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        members, algorithm = jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True), "ES256"
    else:
        members, algorithm = jwt.algorithms.OKPAlgorithm.to_jwk(key, as_dict=True), "EdDSA"
    public = {name: value for name, value in members.items() if name in PUBLIC_MEMBERS}
    return {**public, "use": "sig", "alg": algorithm}


def thumbprint(key: PublicKey) -> str:
    """Return the thumbprint of a key (RFC 7638 section 3)."""
    members = {name: value for name, value in as_jwk(key).items() if name in PUBLIC_MEMBERS}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    return base64url(sha256(canonical).digest()).decode()


def base64url(raw: bytes) -> bytes:
    """Encode bytes in base64url without padding (RFC 7515 section 2)."""
    return b2a_base64(raw, newline=False).rstrip(b"=").translate(_URL_SAFE)
