"""
Exchanged tokens: the user and the rights that such a token stands for, and the JWT that states
them.

An exchanged token is a JWT that only the gateway accepts. The JWT states the identity in one claim
of its own, so that a backend which receives the token by mistake finds neither user nor roles.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from sys import getsizeof
from typing import Any, ClassVar

from attrs import field, frozen

from authotron.model.authentication import Acting, Login, PresentedToken
from authotron.model.binding import Binding, from_confirmation
from authotron.model.identity import Identity
from authotron.model.token import scope_tuples
from authotron.tokens import restriction_sets
from authotron.tokens.restriction_sets import RestrictionSet

TYPE = "exchange+jwt"
"""The header C{typ} of exchanged tokens."""

EVERY = "*"
"""The entry in a list of cloaked attributes that stands for all attributes."""

_TOKEN, _ID = 1_000, 70
"""Estimated bytes in memory of an exchanged token, and of each id of an ancestor."""

_CLAIMS = frozenset(
    {
        *(
            "iss",
            "aud",
            "iat",
            "exp",
            "jti",
            "origin",
            "parents",
            "provider",
            "api_tokens",
            "grant",
        ),
        *("restrictions", "audience", "login", "actors", "may_act", "cnf", "owner", "hidden"),
    }
)
"""
The claims that an exchanged token may have. A later version of the gateway may add a claim that
limits a token; an earlier version must not ignore such a claim, and so refuses the token.
"""

_GRANT = frozenset({"roles", "scopes", "cloaked"})
"""The members that the claim C{grant} may have."""

Hide = Callable[[str, str], str]
"""A function that encrypts a part of the token with the given id."""

Show = Callable[[str, str], str]
"""A function that decrypts a part of the token with the given id."""


@frozen
class ExchangedToken:
    """
    What an exchanged token stands for: a user, and which part of what the user may do.

    As the restriction of an authentication, an exchanged token removes the roles and scopes that it
    does not grant, and the attributes that it cloaks.

    @ivar issued: when the first credential of the chain was issued, in seconds since the epoch, so
        that a revocation of everything issued before a moment also finds the tokens derived later;
        C{None} if the time is not known.
    @ivar expires: when the token expires, in seconds since the epoch.
    @ivar owner: the user, as the provider stated it when the token was issued.
    @ivar provider: the name of the provider that identified the user.
    @ivar ancestors: the ids of the tokens from which the token was derived, the oldest first.
    @ivar api_tokens: the ids of the API tokens from which the token was derived.
    @ivar roles: the only roles of the user that the token grants, or C{None} for all.
    @ivar scopes: the only scopes of the user that the token grants, by service, or C{None} for all.
    @ivar cloaked: the names of the attributes of the user that backends do not see; C{*} stands for
        all attributes.
    @ivar restrictions: restriction sets, all of which must allow a request.
    @ivar audience: the only audiences of minted JWTs, or C{None} for the configured audience.
    @ivar login: what an identity provider stated about the login of the user.
    @ivar binding: the key or certificate that each client must prove to have, or C{None} if the
        token counts for every client that has it.
    @ivar actors: the identities that act in the name of the user, as in L{PresentedToken}.
    @ivar may_act: realm and user name of each identity that may act in the name of the user, or
        C{None} for all that the configuration allows.
    """

    is_exchanged: ClassVar[bool] = True
    """Marks the restriction of an authentication as an exchanged token."""

    id: str
    issued: float | None
    expires: int
    owner: Identity = field(repr=False)
    provider: str
    ancestors: tuple[str, ...] = ()
    api_tokens: tuple[str, ...] = ()
    roles: tuple[str, ...] | None = None
    scopes: Mapping[str, tuple[str, ...]] | None = None
    cloaked: tuple[str, ...] = ()
    restrictions: tuple[RestrictionSet, ...] = ()
    audience: tuple[str, ...] | None = None
    login: Login | None = None
    actors: tuple[Acting, ...] = ()
    may_act: tuple[tuple[str, str], ...] | None = None
    binding: Binding | None = None

    @property
    def lineage(self) -> tuple[str, ...]:
        """The ids on whose revocation cached decisions about the token depend."""
        return (*self.ancestors, self.id)

    def restrict(self, identity: Identity) -> Identity:
        """
        Return the identity without what the exchanged token does not grant, and without what it
        cloaks.
        """
        if self.roles is None and self.scopes is None and not self.cloaked:
            return identity
        roles, scopes, attributes = identity.roles, identity.scopes, identity.attributes
        if self.roles is not None:
            left = frozenset(self.roles)
            roles = tuple(role for role in roles if role in left)
        if self.scopes is not None:
            scopes = {
                service: kept
                for service, own in self.scopes.items()
                if (kept := tuple(each for each in scopes.get(service, ()) if each in own))
            }
        if EVERY in self.cloaked:
            attributes = {}
        elif self.cloaked:
            hidden = frozenset(self.cloaked)
            attributes = {key: value for key, value in attributes.items() if key not in hidden}
        return identity._replace(roles=roles, scopes=scopes, attributes=attributes)

    def presented(self) -> PresentedToken:
        """Return what revocations and the minter need to know of the token."""
        return PresentedToken(
            self.id, self.issued, self.ancestors, self.audience, self.actors, self.binding
        )

    def claims(self, issuer: str, now: int, hide: Hide) -> dict[str, Any]:
        """
        Return the claims of the JWT that states the exchanged token, without claims that are empty.

        If the exchanged token cloaks attributes that its JWT has to contain, the JWT contains the
        user encrypted.
        """
        stated = {
            "iss": issuer,
            "aud": issuer,
            "iat": now,
            "exp": self.expires,
            "jti": self.id,
            "origin": self.issued,
            "parents": [*self.ancestors],
            "provider": self.provider,
            "api_tokens": [*self.api_tokens],
            "grant": self._grant(),
            "restrictions": [each.as_json() for each in self.restrictions],
            "audience": None if self.audience is None else [*self.audience],
            "login": None if self.login is None else [*self.login],
            "cnf": None if self.binding is None else self.binding.confirmation,
            "actors": [*map(_acting_as_json, self.actors)],
            "may_act": None if self.may_act is None else [[*each] for each in self.may_act],
        }
        owner = _as_json(self.owner)
        if self.cloaked and self.owner.attributes:
            stated["hidden"] = hide(json.dumps(owner), self.id)
        else:
            stated["owner"] = owner
        if any(each.hides_attributes for each in self.actors):
            stated["actors"] = hide(json.dumps(stated["actors"]), self.id)
        return {name: value for name, value in stated.items() if value not in (None, [], {})}

    def _grant(self) -> dict[str, Any]:
        stated = {
            "roles": None if self.roles is None else [*self.roles],
            "scopes": None if self.scopes is None else _lists(self.scopes),
            "cloaked": [*self.cloaked] or None,
        }
        return {name: value for name, value in stated.items() if value is not None}

    def __sizeof__(self) -> int:
        """Return how many bytes the token takes up in memory, for caches with a budget."""
        acting = (part for each in self.actors for part in (each.identity, each.left))
        identities = [self.owner, *(each for each in acting if each is not None)]
        texts = [
            *(self.roles or ()),
            *(scope for each in (self.scopes or {}).values() for scope in each),
            *self.cloaked,
            *(role for each in identities for role in each.roles),
            *(text for each in identities for pair in each.attributes.items() for text in pair),
        ]
        size = _TOKEN + _ID * len(self.ancestors) + sum(map(getsizeof, texts))
        return size + sum(each.__sizeof__() for each in self.restrictions)


def from_claims(claims: Mapping[str, Any], show: Show, namespace: str) -> ExchangedToken:
    """
    Return the exchanged token that the claims of a verified JWT state.

    @param namespace: the namespace of requests for which the proxy names no namespace.

    @raise Rejected: the user is encrypted with a key that is not in use any more.
    @raise ValueError: the token states something that this version of the gateway does not know,
        so that it cannot enforce it.
    """
    id_, grant = claims["jti"], claims.get("grant", {})
    if not (claims.keys() <= _CLAIMS and grant.keys() <= _GRANT):
        raise ValueError("the token has a claim that this version of the gateway does not know")
    owner = json.loads(show(claims["hidden"], id_)) if "hidden" in claims else claims["owner"]
    roles, scopes, may_act = grant.get("roles"), grant.get("scopes"), claims.get("may_act")
    login, audience = claims.get("login"), claims.get("audience")
    actors = claims.get("actors", ())
    if isinstance(actors, str):  # encrypted
        actors = json.loads(show(actors, id_))
    return ExchangedToken(
        id_,
        claims.get("origin"),
        claims["exp"],
        _identity(owner),
        claims["provider"],
        tuple(claims.get("parents", ())),
        tuple(claims.get("api_tokens", ())),
        None if roles is None else tuple(roles),
        None if scopes is None else scope_tuples(scopes),
        tuple(grant.get("cloaked", ())),
        tuple(
            restriction_sets.from_json(each).within(namespace)
            for each in claims.get("restrictions", ())
        ),
        None if audience is None else tuple(audience),
        None if login is None else Login(*login),
        tuple(_acting(*each) for each in actors),
        None if may_act is None else tuple((realm, name) for realm, name in may_act),
        from_confirmation(claims["cnf"]) if "cnf" in claims else None,
    )


def _as_json(identity: Identity) -> dict[str, Any]:
    """Return an identity as JSON, without empty members."""
    stated = {
        "realm": identity.realm,
        "username": identity.username,
        "roles": [*identity.roles],
        "attributes": {**identity.attributes},
        "scopes": _lists(identity.scopes),
    }
    return {name: value for name, value in stated.items() if value}


def _identity(stated: Mapping[str, Any]) -> Identity:
    return Identity(
        stated["realm"],
        stated["username"],
        tuple(stated.get("roles", ())),
        stated.get("attributes", {}),
        scope_tuples(stated.get("scopes", {})),
    )


def _acting_as_json(acting: Acting) -> list[Any]:
    """Return an actor as JSON: provider, identity, what is left of the identity, known roles."""
    left = None if acting.left is None else _as_json(acting.left)
    return [acting.provider, _as_json(acting.identity), left, [*acting.known_roles]]


def _acting(
    provider: str,
    identity: Mapping[str, Any],
    left: Mapping[str, Any] | None,
    known_roles: Sequence[str],
) -> Acting:
    return Acting(
        _identity(identity),
        provider,
        None if left is None else _identity(left),
        tuple(known_roles),
    )


def _lists(scopes: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {service: [*each] for service, each in scopes.items()}
