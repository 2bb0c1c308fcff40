"""Verify the signature of a JWT with the keys of its issuer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jwt
from attrs import field, frozen

from authotron.jose import unverified
from authotron.jose.jwk import Key, describe, fitting
from authotron.jose.jwks import KeySet
from authotron.jose.keys import PublicKey
from authotron.model.errors import Rejected, Unavailable


@frozen
class Verifier:
    """
    Verifies the signatures of JWTs, but does not check any claims.

    @ivar algorithms: the accepted signature algorithms.
    @ivar keys: the published keys of the issuer.
    @ivar secret: a secret that the gateway shares with the issuer; only HS signatures are verified
        with it.
    """

    algorithms: Sequence[str]
    keys: KeySet | None = field(repr=False)
    secret: bytes | None = field(default=None, repr=False)

    async def verify(
        self, token: str, seen: unverified.Unverified | None = None
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """
        Verify the signature of a JWT, and return its header and its claims.

        @param seen: the parsed JWT, if L{unverified.parse} was called before.

        @raise Rejected: the JWT is malformed, or not signed with a known key.
        @raise Unavailable: the keys of the issuer cannot be fetched.
        """
        parts = token.split(".", 3)
        if len(parts) != 3 or len(token) > unverified.LONGEST:  # noqa: PLR2004 - the compact form of RFC 7515 section 7.1: three parts
            raise Rejected("the credential is not a signed JSON Web Token")
        if seen is not None and seen.readable:
            header, claims = seen.header, seen.claims
        else:
            header, claims = unverified.parse_header(parts[0]), unverified.parse_part(parts[1])
        _check_members(header)
        algorithm = str(header.get("alg"))
        if algorithm not in self.algorithms:
            raise Rejected("the JWT is signed with an algorithm that is not accepted")
        kid = header.get("kid")
        keys = await self._keys_for(algorithm, kid)
        if not _is_signed_with_one_of(keys, token, algorithm):
            newer = await self._newer_keys(algorithm, kid)
            if newer == keys or not _is_signed_with_one_of(newer, token, algorithm):
                raise Rejected("the signature is wrong")
        return header, claims

    def decides_until(self, header: Mapping[str, Any]) -> float | None:
        """
        Return the time until which the result of verifying a JWT with this header may be used, or
        C{None} if the keys of the issuer are not about to change.
        """
        if self.keys is None or str(header.get("alg")).startswith("HS"):
            return None
        return self.keys.decides_until

    def describe_keys(self) -> str:
        """
        Describe the cached keys of the issuer by name and algorithm.

        @raise Unavailable: no published key can be used with an accepted algorithm.
        """
        keys = self.keys.cached if self.keys is not None else {}
        if keys and not any(fitting(keys, each) for each in self.algorithms):
            accepted = ", ".join(self.algorithms)
            raise Unavailable(f"no key fits the accepted algorithms {accepted}; {describe(keys)}")
        return describe(keys) if keys else ""

    async def _newer_keys(self, algorithm: str, kid: object) -> Sequence[Key]:
        """
        Fetch the key set again for a JWT that names an unknown key, which may be published by now.

        @raise Rejected: no key, or more than one key, can verify the JWT.
        @raise Unavailable: the keys of the issuer cannot be fetched.
        """
        if self.keys is None or algorithm.startswith("HS") or self.keys.names(kid):
            return ()
        await self.keys.search()
        return await self._keys_for(algorithm, kid)

    def is_local(self, seen: unverified.Unverified | None) -> bool:
        """
        Whether a JWT can be verified or rejected without fetching keys.

        @param seen: the parsed JWT, as L{unverified.parse} returns it.
        """
        if self.keys is None or seen is None:
            return True
        algorithm, kid = seen.header.get("alg"), seen.header.get("kid")
        if not isinstance(algorithm, str) or algorithm.startswith("HS"):
            return True
        if kid is None or kid == "":
            return self.keys.is_at_hand
        return not isinstance(kid, str) or self.keys.knows(kid)

    async def _keys_for(self, algorithm: str, kid: object) -> Sequence[Key]:
        """
        Return the keys that may have signed a JWT: those with its C{kid}, or the only fitting key.

        C{kid} is optional (RFC 7515 section 4.1.4), so both a JWT and a key may lack it.

        @raise Rejected: no key fits the JWT, or the JWT names no key and several keys fit.
        @raise Unavailable: the keys of the issuer cannot be fetched.
        """
        if algorithm.startswith("HS"):
            return [Key(self.secret, [algorithm])] if self.secret else []
        if self.keys is None:
            raise Rejected("the provider has no key set, so it can verify only HS signatures")
        if isinstance(kid, str) and kid:
            return await self.keys.keys_named(kid, algorithm)
        return await self.keys.only_key(algorithm)


_MEMBERS: Mapping[str, type] = {
    **dict.fromkeys(("alg", "kid", "typ", "cty", "jku", "x5u", "x5t", "x5t#S256"), str),
    "jwk": dict,
    "x5c": list,
}
"""Members of a JWT header that RFC 7515 section 4.1 defines, and their types."""

_EXTENSIONS = frozenset({"crit", "b64", "zip"})
"""Members of a JWT header that demand an extension, none of which the gateway supports."""


def _check_members(header: Mapping[str, Any]) -> None:
    """
    Check the types of all members of a JWT header before any of them is used.

    A header member that is C{null} counts as absent, unless it would demand an extension.

    @raise Rejected: a member of the JWT header has the wrong type, or demands an extension.
    """
    for name, value in header.items():
        if name in _EXTENSIONS:
            raise Rejected(f"the header member {name} demands an unsupported extension")
        if value is not None and not isinstance(value, _MEMBERS.get(name, object)):
            raise Rejected(f"the header member {name} has the wrong type")


def _is_signed_with_one_of(keys: Sequence[Key], token: str, algorithm: str) -> bool:
    return any(
        algorithm in key.algorithms and _is_signature_valid(token, key, algorithm) for key in keys
    )


def _is_signature_valid(token: str, key: Key, algorithm: str) -> bool:
    """
    Whether the last part of a JWT is a valid signature, made with the given key, of the other two
    parts.

    Header and claims were parsed before, so PyJWT is not asked to parse them again.
    """
    signed, _, signature = token.rpartition(".")
    kind = jwt.get_algorithm_by_name("EdDSA" if algorithm == "Ed25519" else algorithm)
    try:
        raw = unverified.decode_base64url(signature)
        return bool(kind.verify(signed.encode(), _prepare(kind, key.public), raw))
    except (jwt.PyJWTError, ValueError):
        return False


def _prepare(kind: jwt.algorithms.Algorithm, key: PublicKey | bytes) -> Any:
    """
    Return a key in the form in which PyJWT verifies with it.

    @raise jwt.InvalidKeyError: the key does not fit the algorithm.
    """
    return _prepare_secret(kind, key) if isinstance(key, bytes) else kind.prepare_key(key)


@lru_cache(maxsize=64)  # PyJWT looks for certificates and JSON in a secret at each call
def _prepare_secret(kind: jwt.algorithms.Algorithm, secret: bytes) -> Any:
    return kind.prepare_key(secret)
