"""
Find out what a token is that a client states in a request to an OAuth endpoint: an API token of the
token store, a JWT that the gateway accepts as a credential, or a JWT that it mints for backends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from authotron.jose import own_tokens, unverified
from authotron.jose.minter import ORIGIN, PARENTS
from authotron.model.authentication import Acting, Authentication, PresentedToken
from authotron.model.binding import Binding
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
    A token that the gateway has issued, and that has not expired.

    @ivar id: the id of an API token, or the claim C{jti} of a JWT.
    @ivar owner: the realm and the name of the user.
    @ivar claims: what a JWT states about itself; for an API token its id and its times.
    @ivar ancestors: the ids of the tokens from which the token was derived.
    @ivar scheme: the scheme under which clients present the token, or an empty string for a JWT for
        backends, which the gateway does not accept.
    @ivar is_stored: whether the token is an API token in the token store.
    """

    text: str = field(repr=False)
    id: str
    owner: tuple[str, str]
    claims: Mapping[str, Any] = field(repr=False)
    ancestors: tuple[str, ...] = ()
    scheme: str = ""
    is_stored: bool = False

    def is_of(self, caller: Authentication) -> bool:
        """
        Return whether a token belongs to a client, so that the client may see and revoke it. A
        client that uses a restricted token has only this token and what was derived from it.
        """
        if restricted_token_id(caller) is not None:
            used = None if caller.token is None else caller.token.id
            return used is not None and used in (self.id, *self.ancestors)
        return self.owner == caller.identity[:2]

    async def bearer(self, call: Call) -> Authentication | None:
        """
        Return the authentication of a client that presents the token, or C{None} if the token was
        revoked, or its user does not exist any more.

        @raise EarlyReply: the token cannot be verified now.
        """
        if self.scheme:
            return await bearer_of(call, self.text, self.scheme)
        found = _bearer_of_jwt(self.claims)
        return found if _counts(call, found) else None


async def known_token(call: Call, text: str) -> KnownToken | None:
    """
    Return what the gateway knows of a token, or C{None} if the gateway has not issued the token, or
    if the token has expired. The gateway asks no provider about the user of the token.

    @raise EarlyReply: the token store does not answer, or the keys of the gateway are not known.
    """
    seen = unverified.parse(text)
    if seen is None:
        return await _stored(call, text)
    try:
        if seen.header.get("typ") == exchanged_token.TYPE:
            return _exchanged(call, text)
        claims = own_tokens.verified(call.gateway.minter, text, _FOR_BACKENDS)
    except Rejected:
        return None
    except Unavailable:  # the keys in the token store are not known yet
        raise EarlyReply(UNAVAILABLE) from None
    if not claims.keys() >= _OF_IDENTITIES:
        return None
    owner = claims["realm"], claims["username"]
    return KnownToken(text, claims["jti"], owner, claims)


def _exchanged(call: Call, text: str) -> KnownToken | None:
    """
    Return what the gateway knows of an exchanged token.

    @raise Rejected: the gateway has not issued the token, or it has expired.
    """
    if call.gateway.exchanged is None:
        return None
    token = call.gateway.exchanged.read(text)
    claims = own_tokens.verified(call.gateway.minter, text, (exchanged_token.TYPE,))
    owner, scheme = token.owner[:2], _scheme(token.binding)
    return KnownToken(text, token.id, owner, claims, token.ancestors, scheme)


async def _stored(call: Call, text: str) -> KnownToken | None:
    """
    Return what the gateway knows of an API token, or C{None} if the API token is not valid.

    @raise EarlyReply: the token store does not answer.
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
    claims: dict[str, Any] = {"jti": token.id, "iat": int(token.created)}
    if token.grant.expires is not None:
        claims["exp"] = int(token.grant.expires)
    owner, scheme = token.owner[:2], _scheme(token.binding)
    return KnownToken(text, token.id, owner, claims, token.lineage, scheme, is_stored=True)


def _scheme(binding: Binding | None) -> str:
    """Return the scheme under which clients present a token."""
    return "Bearer" if binding is None or binding.jkt is None else "DPoP"


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


def _bearer_of_jwt(claims: Mapping[str, Any]) -> Authentication:
    """Return the authentication that a JWT for backends states."""
    identity = Identity(
        claims["realm"],
        claims["username"],
        tuple(claims["roles"]),
        claims["attributes"],
        scope_tuples(claims["scopes"]),
    )
    issued, parents = claims.get(ORIGIN, claims["iat"]), claims.get(PARENTS, ())
    actors = tuple(_actors(claims.get("act")))
    token = PresentedToken(claims["jti"], issued, tuple(parents), actors=actors)
    return Authentication(identity, expires=claims["exp"], token=token)


def _actors(act: Mapping[str, Any] | None) -> Iterator[Acting]:
    """
    Yield the identities in the claim C{act} of a JWT, the newest first. If realm or user name have
    hyphens, C{sub} may stand for one of several identities, which are all yielded, so that the
    revocation of each ends the JWT.
    """
    while act:
        words = act["sub"].split("-")
        for number in range(1, len(words)):
            realm, username = "-".join(words[:number]), "-".join(words[number:])
            yield Acting(Identity(realm, username), "")
        act = act.get("act")
