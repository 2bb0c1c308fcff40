"""Which identities may act in the name of which users."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from authotron.model.authentication import Authentication
from authotron.model.errors import Problem
from authotron.tokens.delegates import may_act_in
from authotron.tokens.exchanged_token import ExchangedToken

MOST_ACTORS = 4
"""
Maximum number of identities in a chain of delegation, each of which acts in the name of the one
before, and the first in the name of the user.
"""


def refusals(
    user: Authentication,
    actor: Authentication,
    delegates: Mapping[str, Sequence[str]],
    admins: Mapping[str, Sequence[str]],
) -> Iterator[Problem]:
    """
    Yield each reason for which an identity may not act in the name of a user.

    @param delegates: the realms for whose users an identity may act, by the role that it needs.
    @param admins: the roles of administrators, by realm; no identity may act in the name of an
        administrator.
    """
    realm, username = user.identity[:2]
    whole = user.unrestricted or user.identity
    if not may_act_in(realm, actor.identity, delegates):
        yield Problem("", f"the actor has no role of tokens.delegates for the realm {realm}")
    if not set(admins.get(realm, ())).isdisjoint(whole.roles):
        yield Problem("", f"{username} is an administrator, in whose name no identity may act")
    if actor.token is not None and actor.token.actors:
        yield Problem("", "the actor acts in the name of another user itself")
    if user.token is not None and len(user.token.actors) >= MOST_ACTORS:
        yield Problem("", f"{MOST_ACTORS} identities act in the name of the user already")
    if not _is_named(user, actor):
        yield Problem("", "the token of the user does not allow the actor to act (may_act)")


def _is_named(user: Authentication, actor: Authentication) -> bool:
    """
    Return whether the token of a user allows an identity to act in the name of the user; a token
    without the claim C{may_act} allows all (RFC 8693 section 4.4).
    """
    realm, username = actor.identity[:2]
    restriction = user.restriction
    if isinstance(restriction, ExchangedToken) and restriction.may_act is not None:
        return (realm, username) in restriction.may_act
    stated = (user.unrestricted or user.identity).attributes.get("may_act")
    if stated is None:
        return True
    try:
        claim = json.loads(stated)
    except ValueError:
        return False
    # The claim may also name an issuer or another property, which the gateway could not compare.
    if not isinstance(claim, dict) or claim.keys() != {"sub"}:
        return False
    names = [f"{realm}-{username}", *([username] if realm == user.identity.realm else [])]
    return claim["sub"] in names
