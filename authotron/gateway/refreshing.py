"""
Refresh tokens: a client obtains new exchanged tokens without its first credential.

At each use of a refresh token the gateway asks the provider about the user again, as for a request
with the new exchanged token, and replaces the refresh token. A refresh token that is used twice
ends all refresh tokens of its login, and revokes the exchanged tokens that were issued for them
(RFC 9700 section 4.14.2).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from authotron.gateway.authorization import Deny, authorize
from authotron.gateway.bound_tokens import proven
from authotron.gateway.gateway import Gateway, LiveGateway
from authotron.gateway.outcomes import FORBIDDEN, REFUSALS, SUCCESS, Decision
from authotron.model import revocation
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    ExceedsGrant,
    NotConfigured,
    Problem,
    Rejected,
    TooMany,
    Unavailable,
)
from authotron.model.request import Facts, Presented
from authotron.model.revocation import AFTER_EXPIRY, Revocation
from authotron.telemetry import audit
from authotron.telemetry.audit import Actor
from authotron.tokens import exchange, refresh_family, refresh_token
from authotron.tokens.exchange import ExchangeRequest
from authotron.tokens.exchanged_tokens import Exchanged, ExchangedTokens, new_id
from authotron.tokens.refresh_family import Family, RefreshFamilies, Reused

Prove = Callable[[], Awaitable[str | None]]
"""
A function that verifies the proof of a key that comes with a request, and returns the thumbprint of
the key, or C{None} if the request has no proof.
"""

_OFF = "the section tokens.refresh is missing"


async def begin(
    gateway: Gateway[Any],
    requester: Authentication,
    requested: ExchangeRequest,
    actor: Authentication | None = None,
) -> Exchanged:
    """
    Issue an exchanged token together with the first refresh token of a new family of refresh
    tokens.

    @raise ExceedsGrant: the configuration allows no refresh tokens, the user has too many, or the
        request asks for more than the credential allows.
    @raise Unavailable: the token store does not answer.
    """
    exchanged, families = gateway.exchanged, gateway.families
    if exchanged is None or families is None:
        raise _refused(f"there are no refresh tokens: {_OFF}")
    family = refresh_family.new_id()
    if actor is not None or (requester.token is not None and requester.token.actors):
        raise _refused("a token to act in the name of a user comes without a refresh token")
    granted = await exchanged.grant(requester, requested)
    if granted.binding is not None and granted.binding.x5t is not None:
        raise _refused("a token that is bound to a certificate comes without a refresh token")
    granted = evolve(granted, ancestors=(*granted.ancestors, family))
    whole = exchange.of_family(
        granted,
        requester,
        exchanged.bounds,
        exchanged.now(),
        families.longest,
        can_look_up=exchanged.can_look_up(requester),
    )
    found = exchanged.sign(granted, requester.identity)
    validity = requested.validity or exchanged.bounds.config.validity
    try:
        first = await families.begin(
            requester.identity, family, exchanged.as_claims(whole), whole.expires, validity
        )
    except TooMany as error:
        raise _refused(str(error)) from None
    return evolve(found, refresh=first.text)


def _refused(why: str) -> ExceedsGrant:
    """Return the error of a client that requests a refresh token which cannot be issued."""
    return ExceedsGrant([Problem("refresh", why)])


@frozen
class _Use:
    """One use of a refresh token, and the parts of the gateway that the use needs."""

    exchanged: ExchangedTokens
    families: RefreshFamilies
    token: refresh_token.RefreshToken


async def refresh(
    serving: LiveGateway[Any],
    text: str,
    facts: Facts,
    client: Callable[[], str | None],
    prove: Prove,
    clock: IReactorTime,
) -> Exchanged:
    """
    Issue a new exchanged token and a new refresh token to the client that presents a refresh token.

    @param facts: the facts of the request by which the client presents the refresh token.
    @param client: a function that returns the address of the client.
    @param prove: a function that verifies the proof of a key in the request; it is called for
        refresh tokens that are bound to a key, and raises its own exceptions.

    @raise Rejected: the refresh token is not valid, or its user may not log in any more.
    @raise Unavailable: the token store, or the provider of the user, does not answer.
    @raise NotConfigured: the configuration in use allows no refresh tokens.
    """
    use, by = _use(serving.gateway, text), audit.holder(client() or "")
    now = clock.seconds()
    try:
        family, record = await use.families.use(use.token)
        whole = use.exchanged.of_claims(family.grant)
        validity = min(family.validity, use.exchanged.bounds.config.max_validity)
        granted = evolve(whole, id=new_id(), expires=int(min(now + validity, family.ends)))
        found = use.exchanged.sign(granted, granted.owner)
        bearer = await _bearer(serving.gateway, found, client)
        if isinstance(authorize(bearer, facts, is_to_gateway=True), Deny):
            raise Rejected("the refresh token is not valid for requests of this kind")
        if granted.binding is not None and await prove() != granted.binding.jkt:
            raise Rejected("the refresh token is bound to a key, of which the request has no proof")
        new = await use.families.replace(use.token, family, record)
    except Reused as reused:
        await _revoke(serving, reused.family, "a refresh token was used twice", by, now)
        raise
    audit.exchanged(bearer, found.token.id, found.expires, by)
    return evolve(found, refresh=new.text, identity=bearer.identity)


def login_of(gateway: Gateway[Any], requester: Authentication, now: float) -> Revocation | None:
    """
    Return the revocation that ends the login of a client: all its refresh tokens, and all tokens
    that were issued for them. Return C{None} if the client does not present a token that was issued
    together with a refresh token.
    """
    token = requester.token
    if gateway.families is None or token is None:
        return None
    family = next(iter(token.ancestors[-1:]), "")
    if not family.startswith(refresh_family.PREFIX):
        return None  # such as a narrower token, whose bearer must not end the login
    until = now + gateway.families.longest + AFTER_EXPIRY
    return Revocation(
        revocation.new_id(now), family, *requester.identity[:2], created=now, until=until
    )


async def end(serving: LiveGateway[Any], text: str, by: Actor, clock: IReactorTime) -> None:
    """
    End the refresh tokens of a login, and revoke the exchanged tokens that were issued for them; do
    nothing if the refresh token is unknown.

    @param text: a refresh token, which may have been used before.

    @raise Unavailable: the token store does not answer.
    @raise NotConfigured: the configuration in use allows no refresh tokens.
    """
    try:
        use = _use(serving.gateway, text)
    except Rejected:
        return
    family = await use.families.find(use.token)
    if family is not None:
        # The family ends last: if the revocation fails, the client can ask for it once more.
        await _revoke(serving, family, "the refresh token was revoked", by, clock.seconds())
        await use.families.end(use.token)


def _use(gateway: Gateway[Any], text: str) -> _Use:
    if gateway.exchanged is None or gateway.families is None:
        raise NotConfigured(_OFF)
    return _Use(gateway.exchanged, gateway.families, refresh_token.parse(text))


async def _bearer(
    gateway: Gateway[Any], issued: Exchanged, client: Callable[[], str | None]
) -> Authentication:
    """
    Authenticate the user of a new exchanged token, as for a request with this token; the caller
    checks that the client has the key to which the token may be bound.

    @raise Rejected: the user may not log in any more, or the token is revoked.
    @raise Unavailable: the user cannot be authenticated now.
    """
    scheme = "Bearer" if issued.token.binding is None else "DPoP"
    presented = Presented(f"{scheme} {issued.text}".encode("ascii"))
    decided = gateway.decisions.decide(presented, client)
    decision = decided if isinstance(decided, Decision) else await decided
    result, found = decision.outcome.result, decision.outcome.authentication
    if result == SUCCESS and found is not None:
        return found if issued.token.binding is None else proven(found)
    if result in (*REFUSALS, FORBIDDEN):
        raise Rejected("the user of the refresh token may not log in any more")
    raise Unavailable("the user of the refresh token cannot be authenticated now")


async def _revoke(
    serving: LiveGateway[Any], family: Family, reason: str, by: Actor, now: float
) -> None:
    """
    Revoke the exchanged tokens that were issued with a family of refresh tokens, if the
    configuration in use allows to revoke tokens; otherwise the exchanged tokens are valid until
    they expire.

    @raise Unavailable: the token store does not answer, or a worker did not confirm.
    """
    audit.family_ended(family.id, family.owner, reason, by)
    if serving.gateway.revocations is None:
        return
    from authotron.gateway import revoking  # noqa: PLC0415 - only needed if tokens can be revoked

    # The revocation names no owner, because providers may spell the name of a user in several ways.
    until = now + family.validity + AFTER_EXPIRY
    wanted = Revocation(
        revocation.new_id(now), family.id, created=now, until=until, reason=reason, by=str(by)
    )
    await revoking.revoke(serving, wanted, by)
