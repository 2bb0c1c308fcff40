"""
The keys of a L{Minter<authotron.jose.minter.Minter>}: which key signs now, which keys verify, and
which are published.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Protocol

import jwt
from attrs import define, field
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from pydantic_core import PydanticSerializationError, to_json

from authotron.concurrency.waiters import Waiters
from authotron.config.schema import Algorithm
from authotron.jose.keys import PrivateKey, PublicKey, as_jwk, base64url

_MOST_TYPES = 16
"""Maximum number of encoded JWT headers that are cached for one key."""


@define(eq=False)
class Signer:
    """Signs JWTs with one key."""

    algorithm: Algorithm
    kid: str | None
    _key: str | PrivateKey = field(repr=False)
    _sign: Callable[[bytes], bytes] = field(init=False, repr=False)
    _heads: dict[str, bytes] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        # All JWTs share the key; jwt.encode() would parse the key for each JWT.
        self._sign = _sign_function(self.algorithm, self._key)

    def sign(self, claims: Mapping[str, Any], type_: str = "JWT") -> str:
        """Return a signed JWT with some claims, whose header has the given type."""
        signed = (self._heads.get(type_) or self._head(type_)) + base64url(_json(claims))
        return (signed + b"." + base64url(self._sign(signed))).decode()

    def _head(self, type_: str) -> bytes:
        """Encode the header that all JWTs of one type share."""
        kid = {"kid": self.kid} if self.kid else {}
        head = base64url(_json({"alg": self.algorithm, "typ": type_, **kid})) + b"."
        if len(self._heads) < _MOST_TYPES:
            self._heads[type_] = head
        return head


class Keys(Protocol):
    """
    The keys with which JWTs are signed and verified.

    @ivar first_read: the requests that wait until the keys have been read for the first time, or
        C{None} if no request has to wait.
    """

    first_read: Waiters[None] | None

    def signer(self, now: float) -> Signer:
        """
        Return the object that signs JWTs at the given moment.

        @raise KeysUnknown: the gateway does not know which key signs.
        """

    def signs_until(self, now: float) -> float:
        """Return the moment from which another key signs, which may be infinite."""

    def verification_key(self, kid: str, now: float) -> tuple[str | PublicKey, str] | None:
        """
        Return the key that verifies the JWTs with a key id, and its algorithm, or C{None} if no
        key has this id.

        @raise KeysUnknown: the gateway does not know all keys.
        """

    def algorithms(self, now: float) -> Sequence[str]:
        """Return the algorithms with which JWTs are signed, now or after the next change."""

    def jwks(self, now: float) -> Mapping[str, Any]:
        """Return the published keys as a JSON Web Key Set (RFC 7517 section 5)."""

    def max_age(self, now: float) -> int:
        """Return for how many seconds clients may cache the published keys."""


@define(eq=False)
class StaticKeys:
    """The keys that the configuration names; they change only if the configuration is reloaded."""

    _signer: Signer
    _secret: str | None = field(repr=False)
    _public: Mapping[str, PublicKey]
    _caching: int
    _jwks: Mapping[str, Any] = field(init=False)
    first_read: Waiters[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._jwks = published(self._public)

    def signer(self, _now: float) -> Signer:
        return self._signer

    def signs_until(self, _now: float) -> float:
        return inf

    def verification_key(self, kid: str, _now: float) -> tuple[str | PublicKey, str] | None:
        if self._secret is not None:
            return self._secret, "HS256"
        key = self._public.get(kid)
        return None if key is None else (key, as_jwk(key)["alg"])

    def algorithms(self, _now: float) -> Sequence[str]:
        return (self._signer.algorithm,)

    def jwks(self, _now: float) -> Mapping[str, Any]:
        return self._jwks

    def max_age(self, _now: float) -> int:
        return self._caching


def published(keys: Mapping[str, PublicKey]) -> Mapping[str, Any]:
    """Return public keys, by their ids, as a JSON Web Key Set."""
    return {"keys": [{**as_jwk(key), "kid": kid} for kid, key in keys.items()]}


def _sign_function(algorithm: Algorithm, key: str | PrivateKey) -> Callable[[bytes], bytes]:
    """Return a function that signs bytes with a key (RFC 7518 section 3)."""
    kind = jwt.get_algorithm_by_name(algorithm)
    prepared = kind.prepare_key(key)
    if not isinstance(prepared, bytes):
        return lambda signed: kind.sign(signed, prepared)
    # to copy an HMAC object takes a third of the time that a new one takes
    keyed = HMAC(prepared, SHA256())

    def sign(signed: bytes) -> bytes:
        mac = keyed.copy()
        mac.update(signed)
        return mac.finalize()

    return sign


def _json(content: Mapping[str, Any]) -> bytes:
    """
    Encode an object as the shortest JSON in UTF-8.

    If a string contains half of a surrogate pair, which UTF-8 cannot encode, the JSON is written in
    ASCII, with escape sequences for all other characters.
    """
    try:
        return to_json(content)
    except PydanticSerializationError:
        return json.dumps(content, separators=(",", ":")).encode()
