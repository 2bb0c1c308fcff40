"""The result of verifying a credential: the identity of the user, its expiry, and its limits."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from authotron.model.binding import Binding
from authotron.model.identity import Addition, Identity, earliest, whole_number
from authotron.model.request import Condition


class Restriction(Protocol):
    """Limits the roles and scopes of an identity to those that the user's credential grants."""

    def restrict(self, identity: Identity, /) -> Identity:
        """Return the identity without the roles and scopes that the credential does not grant."""


class Login(NamedTuple):
    """
    What an identity provider states about the login of a user.

    @ivar acr: the authentication context, such as C{gold}, by which an identity provider names how
        strong a login was, or C{None} if the provider does not name one.
    @ivar at: the time of the login, in seconds since the epoch, or C{None} if it is not known.
    """

    acr: str | None = None
    at: float | None = None


class Acting(NamedTuple):
    """
    An identity that acts in the name of a user.

    @ivar identity: the identity with all its roles, scopes and attributes.
    @ivar provider: the name of the provider that verified the credential of the identity.
    @ivar left: what the credential of the identity left of it, or C{None} if the credential hid
        nothing; policies must allow a request to both.
    @ivar known_roles: the roles that the provider stated when the identity began to act,
        without those of augmenters; if the identity loses one of them, it may not act any more.
    """

    identity: Identity
    provider: str
    left: Identity | None = None
    known_roles: tuple[str, ...] = ()

    @property
    def hides_attributes(self) -> bool:
        """Whether the credential of the identity hides some of its attributes."""
        return self.left is not None and self.left.attributes != self.identity.attributes


class PresentedToken(NamedTuple):
    """
    What is known of the token by which a client authenticated.

    @ivar id: the id of the token: the C{jti} of a JWT, or the id of an API token; C{None} if the
        token has no id.
    @ivar issued: the time of issue, in seconds since the epoch, or C{None} if it is not known.
    @ivar ancestors: the ids of the tokens from which the token was derived; if one of them is
        revoked, the token is revoked as well.
    @ivar audience: the only audiences that JWTs minted for the client may name, or C{None} for the
        configured audience.
    @ivar actors: the identities that act in the name of the user: the first one sends the request,
        and each further one has passed the right to act on to the one before it (RFC 8693 section
        4.1). All these identities limit what the client may do.
    @ivar binding: the key or certificate that each user of the token must prove to have, or C{None}
        if the token may be used by every client that holds it.
    """

    id: str | None = None
    issued: float | None = None
    ancestors: tuple[str, ...] = ()
    audience: tuple[str, ...] | None = None
    actors: tuple[Acting, ...] = ()
    binding: Binding | None = None


class Authentication(NamedTuple):
    """
    A verified identity, with the provider that verified it, its expiry, and its limits.

    The class is a named tuple, because a frozen class takes three times as long to create.

    @ivar provider: the name of the provider that verified the credential; if the provider leaves
        the name empty, the gateway fills it in.
    @ivar expires: seconds since the epoch at which the credential itself expires, if it does.
    @ivar fresh_until: the time, in seconds since the epoch, after which the gateway must ask the
        provider again before it uses the authentication, or C{None} if there is no such time.
    @ivar unaugmented: the identity as the provider returned it, if augmenters or the restriction
        changed the identity; an API token stores the unchanged identity.
    @ivar conditions: limits that depend on the request; they are checked for each request, even if
        the decision about its credential is cached.
    @ivar restriction: removes roles and scopes that the credential does not grant, after all
        augmenters have answered.
    @ivar unrestricted: the identity with all its roles and scopes, if the restriction has removed
        some; rules that deny something to a role apply to this identity.
    @ivar login: what the identity provider states about the login of the user, or C{None} if the
        credential states nothing about a login, as is always the case for API tokens.
    @ivar token: what is known of the token that the client presented, or C{None} if the credential
        is not a token with an id or a time of issue.
    """

    identity: Identity
    provider: str = ""
    expires: float | None = None
    fresh_until: float | None = None
    unaugmented: Identity | None = None
    conditions: tuple[Condition, ...] = ()
    restriction: Restriction | None = None
    unrestricted: Identity | None = None
    login: Login | None = None
    token: PresentedToken | None = None

    def enriched(self, addition: Addition) -> Authentication:
        """
        Return the authentication with the roles and attributes that an augmenter adds to its
        identity.
        """
        more, added, until = addition.roles, addition.attributes, addition.fresh_until
        if not more and not added and until is None:
            return self
        (
            identity,
            provider,
            expires,
            fresh_until,
            unaugmented,
            conditions,
            restriction,
            whole,
            login,
            token,
        ) = self
        # If an augmenter replaces the C{exp} attribute, its earlier value still limits the lifetime
        # of the JWT.
        if added and "exp" in added:
            expires = self.expires_at()
        fields = (
            identity.enriched(more, added),
            provider,
            expires,
            fresh_until if until is None else earliest(fresh_until, until),
            unaugmented or identity,
            conditions,
            restriction,
            whole,
            login,
            token,
        )
        # A call of the constructor would take 0.2 us longer, and C{_replace} even more.
        return tuple.__new__(Authentication, fields)

    def restricted(self) -> Authentication:
        """Return the authentication without the roles and scopes that its restriction removes."""
        if self.restriction is None:
            return self
        left = self.restriction.restrict(self.identity)
        if left is self.identity:
            return self
        # The attribute C{exp} limits the lifetime of a JWT even if the restriction removes it.
        return self._replace(
            identity=left,
            expires=self.expires_at(),
            unaugmented=self.unaugmented or self.identity,
            unrestricted=self.unrestricted or self.identity,
        )

    def describe_actors(self) -> str:
        """
        Return the identities that act in the name of the user, such as C{portal in realm services},
        or an empty string if there is none.
        """
        token = self.token
        if token is None or not token.actors:
            return ""
        names = (each.identity[:2] for each in token.actors)
        return ", ".join(f"{username} in realm {realm}" for realm, username in names)

    def expires_at(self) -> float | None:
        """
        Return the latest time at which a JWT minted for the identity may expire.

        The expiry that is returned is the earlier one of the expiry of the credential and the
        C{exp} attribute of the identity. The C{exp} attribute can only shorten the lifetime of a
        JWT; a value of C{exp} that is not a whole number is ignored, and a negative value lies in
        the past.
        """
        said = self.identity.attributes.get("exp")
        return self.expires if said is None else earliest(self.expires, whole_number(said))
