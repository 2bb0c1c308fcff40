"""Verify the signature of a JWT by the keys of its issuer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from attrs import field, frozen

from authotron.jose import unverified
from authotron.jose.jwks import Key, KeySet
from authotron.model.errors import Rejected


@frozen
class Verifier:
    """
    Checks signatures of tokens, and nothing they claim.

    @ivar keys: published keys.
    @ivar secret: shared with the issuer, the only thing that HS signatures are checked with.
    """

    algorithms: Sequence[str]
    keys: KeySet | None = field(repr=False)
    secret: bytes | None = field(default=None, repr=False)

    async def verified(
        self, token: str, seen: unverified.Unverified | None = None
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """
        Header and claims of a token that was signed with a key that is known.

        @param seen: what L{bearer.look_into} found in it, if that was done before.

        @raise Rejected: nobody did.
        @raise Unavailable: the keys cannot be had.
        """
        parts = token.split(".", 3)
        if len(parts) != 3 or len(token) > unverified.LONGEST:  # noqa: PLR2004 - RFC 7515 section 7.1
            raise Rejected("no signed JSON Web Token")
        if seen is not None and seen.readable:
            header, claims = seen.header, seen.claims
        else:
            header, claims = unverified.decoded_header(parts[0]), unverified.decoded(parts[1])
        _check_members(header)
        algorithm = str(header.get("alg"))
        if algorithm not in self.algorithms:
            raise Rejected("signed in a way that is not accepted")
        for key in await self._keys_for(algorithm, header.get("kid")):
            if algorithm in key.algorithms and _signed(token, key, algorithm):
                return header, claims
        raise Rejected("the signature is not good")

    def is_local(self, seen: unverified.Unverified | None) -> bool:
        """
        Whether a token can be verified, or refused, without asking for keys.

        @param seen: what L{bearer.look_into} found in it.
        """
        if self.keys is None or seen is None:
            return True
        algorithm, kid = seen.header.get("alg"), seen.header.get("kid")
        if not isinstance(algorithm, str) or algorithm.startswith("HS"):
            return True
        return not isinstance(kid, str) or self.keys.knows(kid)

    async def _keys_for(self, algorithm: str, kid: object) -> Sequence[Key]:
        if algorithm.startswith("HS"):
            return [Key(self.secret, [algorithm])] if self.secret else []
        if self.keys is None or not isinstance(kid, str) or not kid:
            raise Rejected("signed with a key that has no name")
        return await self.keys.named(kid)


_MEMBERS: Mapping[str, type] = {
    **dict.fromkeys(("alg", "kid", "typ", "cty", "jku", "x5u", "x5t", "x5t#S256"), str),
    "jwk": dict,
    "x5c": list,
}
"""Members of a header that RFC 7515 section 4.1 defines, and their types."""


_EXTENSIONS = frozenset({"crit", "b64", "zip"})


def _check_members(header: Mapping[str, Any]) -> None:
    """
    Check a header before any of it is used.

    C{null} is taken for a member that is absent, except where the member changes what is signed.

    @raise Rejected: a member is not of its type, or demands an extension.
    """
    for name, value in header.items():
        if name in _EXTENSIONS:
            raise Rejected("extended in a way that is not understood")
        if value is not None and not isinstance(value, _MEMBERS.get(name, object)):
            raise Rejected(f"the header member {name} is not of its type")


def _signed(token: str, key: Key, algorithm: str) -> bool:
    """
    Whether the last part of a token is the signature of what stands before it.

    The parts were read already, so nothing of them is parsed here once more.
    """
    signed, _, signature = token.rpartition(".")
    kind = jwt.get_algorithm_by_name(algorithm)
    try:
        raw = unverified.b64decoded(signature)
        return bool(kind.verify(signed.encode(), kind.prepare_key(key.public), raw))
    except (jwt.PyJWTError, ValueError):
        return False
