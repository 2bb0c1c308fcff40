"""What a new API token may grant: never more than the credential that creates it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from authotron.config.schema import TokensConfig
from authotron.model.authentication import Authentication
from authotron.model.errors import ExceedsGrant, Problem
from authotron.model.hosts import any_network_fits, host_fits
from authotron.model.identity import earliest
from authotron.model.token import Grant


@frozen
class TokenRequest:
    """
    The properties that a client asks for in a new API token.

    @ivar ttl: lifetime in seconds; C{None} for the configured default.
    @ivar roles: the only roles that the API token keeps; C{None} keeps all roles of the owner.
    @ivar scopes: the only scopes that the API token keeps, by service; C{None} keeps all.
    @ivar hosts: host patterns that restrict the API token; empty for no restriction.
    @ivar networks: client networks that restrict the API token; empty for no restriction.
    """

    name: str = ""
    comment: str = ""
    email: str = ""
    ttl: int | None = None
    roles: tuple[str, ...] | None = None
    scopes: Mapping[str, tuple[str, ...]] | None = None
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


def grant_in_use(requester: Authentication) -> Grant:
    """Return the grant of the API token in use; an unlimited grant for any other credential."""
    return requester.restriction if isinstance(requester.restriction, Grant) else Grant()


def restricted_token_id(requester: Authentication) -> str | None:
    """Return the id of the API token that a requester uses, if that token is restricted."""
    grant = grant_in_use(requester)
    if not grant.is_restricted:
        return None
    return grant.lineage[-1] if grant.lineage else ""


def new_grant(
    requester: Authentication,
    requested: TokenRequest,
    config: TokensConfig,
    now: float,
    *,
    can_look_up: bool,
) -> Grant:
    """
    Compute the grant of a new API token from the request and from the credential in use.

    @param can_look_up: whether a provider can confirm later that the owner still exists; an API
        token of another owner lives for C{max_ttl_unchecked} seconds at most.

    @raise ExceedsGrant: the request asks for more than the credential in use allows.
    """
    outer = grant_in_use(requester)
    problems = [*_excesses(requester, outer, requested)]
    longest = config.max_ttl if can_look_up else config.max_ttl_unchecked
    if requested.ttl is not None and requested.ttl > longest:
        problems.append(Problem("ttl", f"is more than {longest} s, the limit"))
    expires = now + min(requested.ttl or config.ttl, longest)
    if requested.ttl is not None and outer.expires is not None and expires > outer.expires:
        problems.append(Problem("ttl", "is more than the API token in use has left"))
    if problems:
        raise ExceedsGrant(problems)
    return Grant(
        outer.roles if requested.roles is None else requested.roles,
        outer.scopes if requested.scopes is None else requested.scopes,
        requested.hosts or outer.hosts,
        requested.networks or outer.networks,
        earliest(expires, outer.expires),
    )


def _excesses(
    requester: Authentication, outer: Grant, requested: TokenRequest
) -> Iterator[Problem]:
    """Name every role, scope, host and network that the credential in use does not cover."""
    roles = frozenset(requester.identity.roles) if requested.roles else frozenset()
    for place, role in enumerate(requested.roles or ()):
        if role not in roles:
            yield Problem(f"roles[{place}]", "is not a role of the owner")
    for service, scopes in (requested.scopes or {}).items():
        if not set(scopes) <= set(requester.identity.scopes.get(service, ())):
            yield Problem(f"scopes.{service}", "names a scope that the owner does not have")
    for place, host in enumerate(requested.hosts):
        if outer.hosts and not any(host_fits(pattern, host) for pattern in outer.hosts):
            yield Problem(f"hosts[{place}]", "is not allowed by the API token in use")
    for place, network in enumerate(requested.networks):
        if outer.networks and not any_network_fits(outer.networks, network):
            yield Problem(f"networks[{place}]", "is not allowed by the API token in use")
