"""What a new API token may grant: never more than the credential that creates it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from authotron.config.schema import TokensConfig
from authotron.model.authentication import Authentication
from authotron.model.binding import Binding
from authotron.model.errors import ExceedsGrant, Problem
from authotron.model.hosts import any_network_fits, host_fits
from authotron.model.identity import earliest
from authotron.model.token import Grant

_UNUSED_ID = "-"
"""An id that no API token has."""

_MAX_SHOWN = 20
"""Maximum number of roles of an owner that an error message lists."""

_NOT_BY_EXCHANGED = (
    "an exchanged token cannot create API tokens; use the credential that was exchanged for it"
)


@frozen
class TokenRequest:
    """
    The properties that a client requests for a new API token.

    @ivar ttl: the requested lifetime in seconds, or C{None} for the configured default.
    @ivar roles: the only roles of the owner that the API token grants, or C{None} for all roles.
    @ivar scopes: the only scopes of the owner that the API token grants, by service, or C{None} for
        all scopes.
    @ivar hosts: patterns of the hosts to which the API token gives access; empty for all hosts.
    @ivar networks: networks from which clients may use the API token; empty for all networks.
    @ivar binding: the key or certificate that each user of the API token must prove to have.
    """

    name: str = ""
    comment: str = ""
    email: str = ""
    ttl: int | None = None
    roles: tuple[str, ...] | None = None
    scopes: Mapping[str, tuple[str, ...]] | None = None
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    binding: Binding | None = None


def binding_of_new(requester: Authentication, requested: Binding | None) -> Binding | None:
    """
    Return the binding of a new token, which is never weaker than that of the token in use.

    A token that was created with a bound token is bound as well: as requested, or else to the same
    key or certificate, so that a stolen reply never contains a token for every client.
    """
    own = None if requester.token is None else requester.token.binding
    return requested or own


def grant_in_use(requester: Authentication) -> Grant:
    """
    Return the grant of the API token that a requester uses, or the roles and scopes that the
    restriction of another credential leaves, or an unlimited grant for a credential without a
    restriction.
    """
    restriction, left = requester.restriction, requester.identity
    if restriction is None:
        return Grant()
    return restriction if isinstance(restriction, Grant) else Grant(left.roles, left.scopes)


def is_exchanged(requester: Authentication) -> bool:
    """Return whether a requester uses an exchanged token."""
    return getattr(requester.restriction, "is_exchanged", False)


def restricted_token_id(requester: Authentication) -> str | None:
    """
    Return the id of the token that a requester uses, if the token is restricted, or else C{None}.

    An exchanged token counts as restricted. The id of an exchanged token is not the id of an API
    token, so a requester that uses an exchanged token manages no API token; the same holds for any
    other restricted credential.
    """
    grant = grant_in_use(requester)
    if not grant.is_restricted:
        return None
    lineage: tuple[str, ...] = getattr(requester.restriction, "lineage", ())
    return lineage[-1] if lineage else _UNUSED_ID


def new_grant(
    requester: Authentication,
    requested: TokenRequest,
    config: TokensConfig,
    now: float,
    *,
    can_look_up: bool,
) -> Grant:
    """
    Compute the grant of a new API token from the request and from the credential of the requester.

    @param can_look_up: whether a provider can later confirm that the owner still exists; if not,
        the lifetime of the API token is limited to C{max_ttl_unchecked} seconds.

    @raise ExceedsGrant: the request asks for more than the credential of the requester allows.
    """
    if is_exchanged(requester):
        raise ExceedsGrant([Problem("", _NOT_BY_EXCHANGED)])
    outer = grant_in_use(requester)
    problems = [*excesses(requester, outer, requested)]
    longest = config.max_ttl if can_look_up else config.max_ttl_unchecked
    if requested.ttl is not None and requested.ttl > longest:
        problems.append(Problem("ttl", f"the lifetime exceeds the limit of {in_words(longest)}"))
    expires = now + min(requested.ttl or config.ttl, longest)
    if requested.ttl is not None and outer.expires is not None and expires > outer.expires:
        problems.append(
            Problem("ttl", "the lifetime exceeds the remaining lifetime of the API token in use")
        )
    if problems:
        raise ExceedsGrant(problems)
    return Grant(
        outer.roles if requested.roles is None else requested.roles,
        outer.scopes if requested.scopes is None else requested.scopes,
        requested.hosts or outer.hosts,
        requested.networks or outer.networks,
        earliest(expires, outer.expires),
    )


def in_words(seconds: int) -> str:
    """Write a duration in the largest unit that divides it, such as C{366 d}."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _lacks_role(requester: Authentication, role: str) -> str:
    """Say that the owner does not have a role, and which roles the owner has."""
    known = requester.identity.roles
    listed = ", ".join([*known[:_MAX_SHOWN], *(["..."] if len(known) > _MAX_SHOWN else [])])
    owner = requester.identity.username
    return f"{owner} does not have the role {role!r} (has: {listed or 'no roles'})"


def excesses(requester: Authentication, outer: Grant, requested: TokenRequest) -> Iterator[Problem]:
    """
    Yield a problem for every requested role, scope, host and network that the credential of the
    requester does not allow.
    """
    roles = frozenset(requester.identity.roles) if requested.roles else frozenset()
    for place, role in enumerate(requested.roles or ()):
        if role not in roles:
            yield Problem(f"roles[{place}]", _lacks_role(requester, role))
    for service, scopes in (requested.scopes or {}).items():
        if not set(scopes) <= set(requester.identity.scopes.get(service, ())):
            yield Problem(f"scopes.{service}", "the request names a scope that the owner lacks")
    for place, host in enumerate(requested.hosts):
        if outer.hosts and not any(host_fits(pattern, host) for pattern in outer.hosts):
            yield Problem(f"hosts[{place}]", "the API token in use does not allow this host")
    for place, network in enumerate(requested.networks):
        if outer.networks and not any_network_fits(outer.networks, network):
            yield Problem(f"networks[{place}]", "the API token in use does not allow this network")
