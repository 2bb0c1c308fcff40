"""
Find out what a token is that a client states in a request to an OAuth endpoint: an API token of the
token store, a JWT that the gateway accepts as a credential, or a JWT that it mints for backends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from authotron.jose import own_tokens, unverified
from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Identity
from authotron.model.token import scope_tuples
from authotron.tokens import exchanged_token
from authotron.tokens.grants import restricted_token_id
from authotron.web.later_routes import Call
from authotron.web.oauth.caller import BEARER, bearer_of
from authotron.web.oauth.errors import UNAVAILABLE
from authotron.web.routing import EarlyReply

_FOR_BACKENDS = ("JWT", "at+jwt")
"""The values of C{typ} of the JWTs that the gateway mints for backends."""

_OF_IDENTITIES = frozenset({"jti", "iat", "realm", "username", "roles", "attributes", "scopes"})
"""Claims of each JWT that the gateway mints for backends."""


@frozen
class KnownToken:
    """
    A valid token that the gateway has issued.

    @ivar id: the id of an API token, or the claim C{jti} of a JWT.
    @ivar bearer: the authentication of a client that presents the token.
    @ivar claims: what a JWT states about itself; for an API token its id and its times.
    @ivar is_stored: whether the token is an API token in the token store.
    """

    id: str
    bearer: Authentication
    claims: Mapping[str, Any]
    is_stored: bool = False

    def is_of(self, caller: Authentication) -> bool:
        """
        Return whether a token belongs to a client, so that the client may see and revoke it. A
        client that uses a restricted token has only this token and what was derived from it.
        """
        if restricted_token_id(caller) is not None:
            used = None if caller.token is None else caller.token.id
            token = self.bearer.token or PresentedToken()
            return used is not None and used in (self.id, *token.ancestors)
        return self.bearer.identity[:2] == caller.identity[:2]


async def known_token(call: Call, text: str) -> KnownToken | None:
    """
    Return what the gateway knows of a token, or C{None} if the gateway has not issued the token, or
    if the token has expired or was revoked.

    @raise EarlyReply: the token cannot be verified now.
    """
    seen = unverified.parse(text)
    if seen is None:
        return await _stored(call, text)
    is_credential = seen.header.get("typ") == exchanged_token.TYPE
    types = (exchanged_token.TYPE,) if is_credential else _FOR_BACKENDS
    try:
        claims = own_tokens.verified(call.gateway.minter, text, types)
    except Rejected:
        return None
    if is_credential:
        bearer = await bearer_of(call, text, _scheme("jkt" in claims.get("cnf", {})))
        return bearer and KnownToken(str(claims["jti"]), bearer, claims)
    if not claims.keys() >= _OF_IDENTITIES:
        return None
    bearer = _bearer_of_jwt(claims)
    return KnownToken(str(claims["jti"]), bearer, claims) if _counts(call, bearer) else None


def _counts(call: Call, bearer: Authentication) -> bool:
    """
    Return whether a JWT for backends was not revoked.

    @raise EarlyReply: it is not known which credentials are revoked.
    """
    revocations = call.gateway.revocations
    try:
        if revocations is not None:
            revocations.check(bearer)
    except Rejected:
        return False
    except Unavailable:
        raise EarlyReply(UNAVAILABLE) from None
    return True


def _scheme(is_bound_to_key: bool) -> str:  # noqa: FBT001 - the only parameter
    """Return the scheme under which clients present a token."""
    return "DPoP" if is_bound_to_key else "Bearer"


async def _stored(call: Call, text: str) -> KnownToken | None:
    """
    Return what the gateway knows of an API token, or C{None} if the API token is not valid.

    Only strings that the token store knows are shown to providers, so that no client can have
    providers asked about made-up tokens.
    """
    tokens = call.gateway.tokens
    if tokens is None or not BEARER.fullmatch(text):
        return None
    try:
        token = await tokens.find(text, lambda: call.request.sender)
    except Rejected:
        return None
    except Unavailable:
        raise EarlyReply(UNAVAILABLE) from None
    is_bound_to_key = token.binding is not None and token.binding.jkt is not None
    bearer = await bearer_of(call, text, _scheme(is_bound_to_key))
    if bearer is None:
        return None
    claims: dict[str, Any] = {"jti": token.id, "iat": int(token.created)}
    if token.grant.expires is not None:
        claims["exp"] = int(token.grant.expires)
    return KnownToken(token.id, bearer, claims, is_stored=True)


def _bearer_of_jwt(claims: Mapping[str, Any]) -> Authentication:
    """Return the authentication that a JWT for backends states."""
    identity = Identity(
        claims["realm"],
        claims["username"],
        tuple(claims["roles"]),
        claims["attributes"],
        scope_tuples(claims["scopes"]),
    )
    token = PresentedToken(claims["jti"], claims["iat"])
    return Authentication(identity, expires=claims["exp"], token=token)
