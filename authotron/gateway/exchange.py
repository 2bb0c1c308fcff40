"""
Exchange the credential of a client for a narrower token.

A client may not cloak a claim on which a denial depends. Denials apply to the whole identity in any
case, because rules may change while the token is valid; refusing the request tells the client that
cloaking the claim would not help.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar
from weakref import WeakKeyDictionary

from authotron.gateway.gateway import Gateway
from authotron.model.authentication import Authentication
from authotron.model.errors import ExceedsGrant, NotConfigured, Problem
from authotron.policy.denials import NONE, NamedClaims, named_by_denials, named_by_expression
from authotron.policy.policies import Policies
from authotron.telemetry import audit
from authotron.tokens.exchange import ExchangeRequest
from authotron.tokens.exchanged_token import EVERY
from authotron.tokens.exchanged_tokens import Exchanged

R = TypeVar("R")

_named: WeakKeyDictionary[Policies, NamedClaims] = WeakKeyDictionary()
"""The claims on which denials depend, which are found once for each version of the policies."""


async def exchange(
    gateway: Gateway[R],
    requester: Authentication,
    requested: ExchangeRequest,
    client: str = "",
    named: NamedClaims = NONE,
    actor: Authentication | None = None,
) -> Exchanged:
    """
    Issue a token that grants a part of what the credential of a client grants.

    @param client: the address of the client, for the audit log.
    @param named: the claims that revocations name, and that the client may not cloak either.
    @param actor: the identity that requests the token, to act in the name of the client, or C{None}
        if the client requests the token itself.

    @raise ExceedsGrant: the request asks for more than the credentials allow.
    @raise Unavailable: the token store does not answer, or its policies are not known yet.
    @raise NotConfigured: the configuration in use does not allow to exchange credentials.
    """
    if gateway.exchanged is None:
        raise NotConfigured("the section tokens.exchange is missing")
    if requested.cloak:
        if gateway.enforcement is not None:
            named = named | _named_by_denials(gateway.enforcement.policies)
        if gateway.revocations is not None:
            for text in gateway.revocations.index.expressions:
                named = named | named_by_expression(text)
        if problems := [*_refused_cloaks(requester, requested, named)]:
            raise ExceedsGrant(problems)
    if actor is not None:
        _check_delegation(gateway, requester, actor)
    if requested.refresh:
        from authotron.gateway import refreshing  # noqa: PLC0415 - only needed here

        found = await refreshing.begin(gateway, requester, requested, actor)
    else:
        found = await gateway.exchanged.issue(requester, requested, actor)
    by = audit.identified(actor or requester, client)
    audit.exchanged(requester, found.token.id, found.expires, by)
    return found


def _check_delegation(gateway: Gateway[R], user: Authentication, actor: Authentication) -> None:
    """
    Check that an identity may act in the name of a user.

    @raise ExceedsGrant: the identity may not act in the name of the user.
    """
    from authotron.tokens import delegation  # noqa: PLC0415 - only needed here

    config = gateway.config
    admins = {} if config.store is None else config.store.admins
    delegates = config.file.tokens.delegates
    if problems := [*delegation.refusals(user, actor, delegates, admins)]:
        raise ExceedsGrant(problems)


def _named_by_denials(policies: Policies) -> NamedClaims:
    found = _named.get(policies)
    if found is None:
        found = _named[policies] = named_by_denials(policies)
    return found


def _refused_cloaks(
    requester: Authentication, requested: ExchangeRequest, named: NamedClaims
) -> Iterator[Problem]:
    """Yield a problem for each attribute that a client wants to cloak and a denial depends on."""
    attributes = (requester.unrestricted or requester.identity).attributes
    for place, name in enumerate(requested.cloak):
        hidden = attributes if name == EVERY else (name,)
        needed = next((each for each in hidden if each in named), None)
        if needed is not None:
            why = f"cannot hide {needed}, because a rule that denies, or a revocation, reads it"
            yield Problem(f"cloak[{place}]", why)
