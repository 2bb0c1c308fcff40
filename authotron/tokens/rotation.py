"""Replace an API token by a new one with the same permissions."""

from __future__ import annotations

from attrs import evolve

from authotron.model.errors import ExceedsGrant, Problem, Rejected, TokenExists, Unavailable
from authotron.model.identity import earliest
from authotron.model.token import TERMINAL, PlainToken, Token, generate
from authotron.telemetry import audit
from authotron.telemetry.audit import Actor
from authotron.tokens.grants import in_words
from authotron.tokens.service import TokenService

_TRIES = 3
"""
Number of random ids to try for a new API token, if the store already contains
a token with the id.
"""


async def rotate(
    tokens: TokenService,
    old: Token,
    *,
    now: float,
    by: Actor,
    can_look_up: bool,
    ttl: int | None = None,
) -> tuple[PlainToken, Token]:
    """
    Create a new API token with the owner, restrictions, name and ancestors of the API token that it
    replaces.

    The replaced API token is not changed: the caller revokes it, or lets it expire.

    @param ttl: the lifetime in seconds; by default the lifetime with which the replaced API token
        was created.
    @param can_look_up: whether a provider can confirm later that the owner still exists.

    @return: the API token for the client, and the API token as it is stored.

    @raise Rejected: the API token to replace, or one of its ancestors, has expired or was revoked.
    @raise ExceedsGrant: the lifetime C{ttl} exceeds the limit.
    @raise TokenExists: each of three random ids was in use, which is practically impossible.
    @raise Unavailable: the store does not answer.
    """
    config = tokens.config
    longest = config.max_ttl if can_look_up else config.max_ttl_unchecked
    if ttl is not None and ttl > longest:
        reason = f"the lifetime exceeds the limit of {in_words(longest)}"
        raise ExceedsGrant([Problem("ttl", reason)])
    end = old.grant.expires
    if end is not None and end <= now:
        raise Rejected("the API token has expired; create another one")
    lifetime = ttl or (config.ttl if end is None else max(1, round(end - old.created)))
    expires: float | None = now + min(lifetime, longest)
    for id_ in old.lineage:
        ancestor = await tokens.store.get(id_)
        if ancestor is None:
            raise Rejected("an ancestor of the API token was revoked or has expired")
        expires = earliest(expires, ancestor.grant.expires)
    for _ in range(_TRIES):
        plain = generate(now)
        token = evolve(
            old,
            id=plain.id,
            hashed=tokens.store.peppers().hash(plain.text),
            created=now,
            grant=evolve(old.grant, expires=expires),
            used=None,
            origin=TERMINAL,
        )
        try:
            await tokens.store.add(token, None)
        except TokenExists:
            continue
        except Unavailable:
            audit.unconfirmed(token, "created", by)
            raise
        audit.created(token, by)
        return plain, token
    raise TokenExists
