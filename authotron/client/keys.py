"""Keys that verify signatures: a shared secret, or the published keys of the gateway (RFC 7517)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from authotron.client.errors import Unavailable

SHARED = ("HS256", "HS384", "HS512")
PUBLISHED = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
)  # fmt: skip
_CURVES = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}
_RSA, _EDWARDS = PUBLISHED[:6], PUBLISHED[9:]

_RSA_BITS = range(2048, 8193)
"""Sizes of RSA keys that are used: smaller ones are too weak, larger ones too slow."""

_MAX_KEYS = 200
_SHORTEST_SECRET = 16
"""Minimum length of a shared secret in bytes, the same as in the gateway's default settings."""


@dataclass(frozen=True)
class Key:
    """
    A key for verifying signatures, and one algorithm for which it may be used.

    A key that fits several algorithms is listed once for each algorithm, so that a JWT cannot make
    its key be used with an algorithm it is not meant for.
    """

    kid: str
    algorithm: str
    material: Any = field(repr=False)  # PyJWT has a different class for each algorithm.
    _verify: Algorithm = field(repr=False, compare=False)

    def is_signer(self, signed: bytes, signature: bytes) -> bool:
        """Whether the signature of some bytes was made with this key."""
        return bool(self._verify.verify(signed, self.material, signature))


Keys = Mapping[tuple[str, str], Sequence[Key]]
"""
Keys for verifying signatures, by C{kid} and algorithm; the only key of an algorithm is found under
an empty C{kid} as well.
"""


def shared_secret(secret: str | bytes) -> Keys:
    """
    Return the verification keys for a shared secret, one for each HMAC algorithm.

    @raise ValueError: the secret is too short.
    """
    raw = secret.encode() if isinstance(secret, str) else secret
    if len(raw) < _SHORTEST_SECRET:
        raise ValueError(f"the secret has less than {_SHORTEST_SECRET} bytes")
    return _by_name([_key("", algorithm, raw) for algorithm in SHARED])


def published(document: object, place: str) -> Keys:
    """
    Return the usable keys of a key set.

    Keys that are malformed, weak, or for other purposes are skipped.

    @raise Unavailable: the document is not a key set, or has no usable key.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise Unavailable(f"{place} is not a key set: it has no list `keys`")
    found = [key for jwk in listed[:_MAX_KEYS] if isinstance(jwk, dict) for key in _keys(jwk)]
    if not found:
        raise Unavailable(
            f"{place} has no usable key for signatures ({len(listed)} keys listed); a gateway that "
            "signs with HS256 publishes none, and needs Verifier(secret=...)"
        )
    return _by_name(found)


def _by_name(keys: Sequence[Key]) -> Keys:
    named: dict[tuple[str, str], list[Key]] = {}
    for key in keys:
        for kid in {key.kid, ""}:
            named.setdefault((kid, key.algorithm), []).append(key)
    # A JWT that names no key is verified only if exactly one key fits its algorithm, because trying
    # many keys would take long.
    return {name: same for name, same in named.items() if name[0] or len(same) == 1}


def _keys(jwk: Mapping[str, Any]) -> list[Key]:
    kid, operations = jwk.get("kid", ""), jwk.get("key_ops")
    is_for_signatures = jwk.get("use") in (None, "sig") and (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    )
    if not (isinstance(kid, str) and is_for_signatures) or "d" in jwk or "k" in jwk:
        return []
    try:
        material, algorithms = _public(jwk)
    except (jwt.InvalidKeyError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return []
    chosen = jwk.get("alg")
    if chosen is not None:
        names = _EDWARDS if chosen in _EDWARDS else (chosen,)
        algorithms = [each for each in algorithms if each in names]
    return [_key(kid, algorithm, material) for algorithm in algorithms]


def _public(jwk: Mapping[str, Any]) -> tuple[Any, Sequence[str]]:
    """
    Return the public key in a JSON Web Key, and all algorithms that such a key can verify.

    @raise ValueError: the key is malformed, weak, or of an unsupported kind.
    """
    members = dict(jwk)
    if jwk.get("kty") == "RSA":
        key = RSAAlgorithm.from_jwk(members)
        if not isinstance(key, RSAPublicKey) or key.key_size not in _RSA_BITS:
            raise ValueError("the RSA key is too small or too large")
        return key, _RSA
    if jwk.get("kty") == "EC":
        return ECAlgorithm.from_jwk(members), _CURVES[jwk["crv"]]
    if jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519":
        return OKPAlgorithm.from_jwk(members), _EDWARDS
    raise ValueError("the kind of key is not supported")


def _key(kid: str, algorithm: str, material: Any) -> Key:
    name = "EdDSA" if algorithm in _EDWARDS else algorithm
    return Key(kid, algorithm, material, jwt.get_algorithm_by_name(name))
