"""List the claims of one user for C{authotron doctor}, if a provider can look up the user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from authotron.gateway.gateway import Gateway
from authotron.model.errors import BadIdentity, Rejected
from authotron.plugin.interfaces import CheckResult, IJudge, IUserLookup

_MOST = 100
"""Maximum number of claims of a user that are listed; further claims are only counted."""


async def with_claims(
    results: AsyncIterator[CheckResult],
    gateway: Gateway[Any],
    provider: IJudge,
    username: str | None,
) -> AsyncIterator[CheckResult]:
    """
    Yield the results of a provider's checks, and then the claims of a user.

    The claims of the user are yielded only if the configuration uses claims, and if the provider
    can look up a user without a password. The listed claims of a user are those before any
    augmenter has been called.
    """
    async for result in results:
        yield result
    if username is None or gateway.claims is None or not IUserLookup.providedBy(provider):
        return
    try:
        found = await IUserLookup(provider).look_up(username)
        identity = gateway.authenticator.identity_check.admit(found.identity, provider.name)
    except Rejected:
        return
    except BadIdentity as bad:
        yield CheckResult("claims", good=False, detail=str(bad))
        return
    listed = gateway.claims.listed(found._replace(identity=identity, provider=provider.name))
    for claim in listed[:_MOST]:
        yield CheckResult("claim", good=True, detail=claim)
    if len(listed) > _MOST:
        yield CheckResult("claim", good=True, detail=f"{len(listed) - _MOST} more claims")
