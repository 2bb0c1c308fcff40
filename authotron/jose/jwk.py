"""Parse published JSON Web Keys (RFC 7517), and skip those that are unusable or unsafe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from twisted.logger import Logger

from authotron.jose.claim_values import shown
from authotron.jose.keys import PUBLIC_MEMBERS, PublicKey, check_strength
from authotron.model.errors import Unavailable

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
)  # fmt: skip
"""
Signature algorithms that published keys may have.

HS256 and the other HS algorithms are not in the table, because a shared secret is never published.
"""

_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA = ALGORITHMS[:6]
_EDWARDS = ("EdDSA", "Ed25519")
"""Two names of one algorithm: C{EdDSA} of RFC 8037, and C{Ed25519} of RFC 9864."""

_LARGEST_RSA = 8192
"""Maximum size of an RSA key in bits; verifying with a larger key takes too long."""

_MAX_KEYS = 200
"""Maximum number of keys of a key set that are read; further keys are ignored."""

_MAX_SHOWN = 20
"""Maximum number of keys that a description of a key set lists."""

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_log = Logger()


@frozen
class Key:
    """A published key, and the only algorithms with which it may be used."""

    public: PublicKey | bytes = field(repr=False)
    algorithms: Sequence[str]


KeysByName = Mapping[str, Sequence[Key]]
"""The usable keys, listed by C{kid}; an issuer may publish several keys with the same C{kid}."""


class NoUsableKey(Unavailable):
    """A key set has no key that can verify signatures."""


class UnsafeKey(ValueError):
    """A published key with which other parties than its owner can make signatures."""


def read(document: Mapping[str, Any], place: str) -> KeysByName:
    """
    Return the usable keys of a key set (RFC 7517).

    Keys that cannot verify signatures are skipped; unsafe keys are skipped with a warning. A key
    without C{kid} is listed under an empty name.

    @param place: the URL or path of the key set, for messages.

    @raise Unavailable: the document is not a key set.
    @raise NoUsableKey: the key set contains no usable key.
    """
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise Unavailable(f"{place} is not a key set: it has no list `keys`")
    found: dict[str, list[Key]] = {}
    for each in listed[:_MAX_KEYS]:
        name = each.get("kid") if isinstance(each, dict) else None
        try:
            key = _key(each) if isinstance(each, dict) else None
        except UnsafeKey as unsafe:
            _log.warn(
                "key {kid} published at {place} is ignored: it {reason}",
                kid=repr(name and name[:100]),
                place=place,
                reason=str(unsafe),
                event="jwks.key.unsafe",
            )
            continue
        if key is not None:
            found.setdefault(name or "", []).append(key)
    if not found:
        raise NoUsableKey(f"{place} has no usable key for signatures ({len(listed)} keys listed)")
    return found


def with_other_names(algorithms: Sequence[str]) -> Sequence[str]:
    """Add to a list of algorithms the second name of each algorithm that has two names."""
    if set(_EDWARDS).isdisjoint(algorithms):
        return algorithms
    return tuple(dict.fromkeys((*algorithms, *_EDWARDS)))


def fitting(keys: KeysByName, algorithm: str) -> list[Key]:
    """List the keys of a key set that fit a signature algorithm, with or without C{kid}."""
    return [key for same in keys.values() for key in same if algorithm in key.algorithms]


def describe(keys: KeysByName) -> str:
    """Describe a key set: the number of keys, and C{kid} and algorithms of each key."""
    texts = [
        f"{shown(kid) if kid else 'without kid'} {'/'.join(key.algorithms)}"
        for kid, same in keys.items()
        for key in same
    ]
    more = [f"and {len(texts) - _MAX_SHOWN} more"] if len(texts) > _MAX_SHOWN else []
    count = "1 key" if len(texts) == 1 else f"{len(texts)} keys"
    return f"{count}: {', '.join([*texts[:_MAX_SHOWN], *more])}"


def single(jwk: dict[str, Any]) -> Key:
    """
    Return a public key that is not part of a key set, such as the key in the header of a proof.

    @raise ValueError: the key is malformed, unsafe or not for signatures; the message continues a
        sentence about the key.
    """
    key = _key(jwk)
    if key is None:
        raise ValueError("is malformed, or not for a known kind of signature")
    return key


def _key(jwk: dict[str, Any]) -> Key | None:
    """
    Parse a JSON Web Key; return C{None} if the key is not for a known kind of signature.

    @raise UnsafeKey: other parties than the owner of the key can make signatures with it.
    """
    is_name = isinstance(jwk.get("kid"), str | None)
    operations = jwk.get("key_ops")
    is_for_signatures = jwk.get("use") in (None, "sig") and (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    )
    if not (is_name and is_for_signatures):
        return None
    try:
        public, algorithms = _public(jwk)
    except UnsafeKey:
        raise
    except (jwt.InvalidKeyError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    if jwk.get("alg") is not None:
        names = _EDWARDS if jwk["alg"] in _EDWARDS else (jwk["alg"],)
        algorithms = [each for each in algorithms if each in names]
    return Key(public, algorithms) if algorithms else None


def _public(jwk: dict[str, Any]) -> tuple[PublicKey, Sequence[str]]:
    """
    Return the public key in a JSON Web Key, and the signature algorithms that fit its type.

    @raise UnsafeKey: the private part of the key is published as well, or the key is too weak.
    @raise ValueError: the key is malformed, or of an unsupported kind; the libraries raise other
        exceptions for the same reason, see L{_key}.
    """
    members: dict[str, Any] = {name: value for name, value in jwk.items() if name in PUBLIC_MEMBERS}
    if not all(isinstance(value, str) for value in members.values()):
        raise ValueError("a member of the key is not a string")
    # For each key type (C{kty}) the cryptographic libraries return a key object of a different
    # Python class.
    key: Any
    algorithms: Sequence[str]
    match jwk.get("kty"):
        case "RSA":
            key, algorithms = jwt.algorithms.RSAAlgorithm.from_jwk(members), _RSA
            if key.key_size > _LARGEST_RSA:
                raise ValueError("the RSA key is too large")
        case "EC":
            key = jwt.algorithms.ECAlgorithm.from_jwk(members)
            algorithms = [_CURVES[members["crv"]]]
        case "OKP" if members.get("crv") == "Ed25519":
            key = jwt.algorithms.OKPAlgorithm.from_jwk(members)
            algorithms = _EDWARDS
        case _:
            raise ValueError("the kind of key is not supported")
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise UnsafeKey("is published together with its private part")
    try:
        check_strength(key)
    except ValueError as weakness:
        raise UnsafeKey(str(weakness)) from None
    return key, algorithms
