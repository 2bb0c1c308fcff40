"""Read the JWTs that the gateway itself has signed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import jwt

from authotron.jose import unverified
from authotron.jose.purposes import Claims
from authotron.model.errors import Rejected
from authotron.model.identity import Credential


class Verifies(Protocol):
    """An object that verifies the JWTs that the gateway itself has signed."""

    def verify(self, token: str, /) -> tuple[dict[str, Any], dict[str, Any]]:
        """
        Verify a JWT that this gateway signed, and return its header and its claims.

        @raise jwt.InvalidTokenError: the JWT has expired, or was not signed by this gateway.
        @raise Unavailable: the gateway does not know its keys.
        """


class OwnKeys(Verifies, Protocol):
    """The keys of the gateway, and the audiences that the JWTs name which it mints."""

    @property
    def audience(self) -> tuple[str, ...]:
        """The audiences that minted JWTs name; empty if they name none."""


def verified(keys: Verifies, token: str, types: Collection[str]) -> Claims:
    """
    Verify a JWT that the gateway has signed, and return its claims.

    @param types: the values of the header C{typ}, one of which the JWT must have (RFC 8725 section
        3.11).

    @raise Rejected: the gateway has not signed the JWT, or the JWT has expired or is of another
        type.
    @raise Unavailable: the gateway does not know its keys.
    """
    try:
        header, claims = keys.verify(token)
    except jwt.InvalidTokenError as error:
        raise Rejected(f"the token is none that this gateway signed: {error}") from None
    if header.get("typ") not in types:
        raise Rejected("the token is a JWT of another type")
    return claims


def claims_if(credential: Credential, typ: str, issuer: str) -> Mapping[str, Any] | None:
    """
    Return the claims of a credential, which are not verified and must not be believed, if the
    credential says that it is a JWT of a given type and issuer; or else C{None}.
    """
    seen = unverified.parse_once(credential)
    if seen is None or seen.header.get("typ") != typ or seen.claims.get("iss") != issuer:
        return None
    return seen.claims
