"""Revoke credentials, and withdraw revocations, for all gateways that share the token store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

from authotron.gateway.gateway import LiveGateway
from authotron.gateway.records import SharedRecords
from authotron.gateway.revocations import RevocationIndex
from authotron.model import revocation
from authotron.model.authentication import Authentication
from authotron.model.errors import ExceedsGrant, Problem, Unavailable
from authotron.model.revocation import Revocation
from authotron.telemetry import audit
from authotron.telemetry.audit import Actor

MOST_OF_OWNER = 1_000
"""Maximum number of revocations in force that one owner has made without being an administrator."""

MOST_OF_OWNERS = 50_000
"""
Maximum number of revocations in force that name an owner; above this number only administrators may
make further revocations.
"""

MOST_EXPRESSIONS = 200
"""
Maximum number of revocations with an expression, because each of them is evaluated for each client
whose decision is not cached.
"""


def of_presented_token(
    found: Authentication, now: float, reason: str = "", by: str = ""
) -> Revocation | None:
    """
    Return the revocation of the token with which a client has authenticated, or C{None} if the
    client has authenticated with a credential that is not a token, such as a password.
    """
    token = found.token
    if token is None or token.id is None:
        return None
    # The expiry of an authentication by an exchanged token is that of the JWTs minted for it; the
    # token itself expires with its restriction.
    expires = getattr(found.restriction, "expires", None) or found.expires_at()
    return revocation.of_token(token.id, found.identity[:2], now, expires, reason, by)


def of_all_tokens(
    realm: str, username: str, now: float, reason: str = "", by: str = ""
) -> Revocation:
    """Return the revocation of all tokens that were issued to a user before now."""
    return Revocation(
        revocation.new_id(now),
        realm=realm,
        username=username,
        created=now,
        issued_before=now,
        reason=reason,
        by=by,
    )


async def revoke(serving: LiveGateway[Any], wanted: Revocation, by: Actor) -> Revocation:
    """
    Revoke credentials; return once the token store has the revocation, and every worker of this
    machine applies it.

    @param by: the actor that the audit log names.

    @raise ExceedsGrant: a revocation with an expression would be one too many.
    @raise Unavailable: the token store cannot be reached, or a worker did not confirm; perhaps the
        credentials are revoked.
    """
    records = _records(serving)
    revocations = serving.gateway.revocations
    if wanted.claims is not None and revocations is not None:
        _check_expressions(revocations.index)
    try:
        await records.publish(wanted.record())
    except Unavailable:
        audit.revocation_unconfirmed(wanted, "made", by)
        raise
    audit.revocation_made(wanted, by)
    return wanted


async def revoke_all_tokens(serving: LiveGateway[Any], wanted: Revocation, by: Actor) -> Revocation:
    """
    Revoke all tokens of an owner that were issued before a time, as L{revoke} does.

    An owner has only one revocation of all tokens issued before a time; revoking again moves its
    time on. So an owner can always revoke all tokens, also if the bearer of a stolen token has made
    as many revocations as an owner may make.

    @return: the revocation in force, whose time is at least the time in the wanted revocation.

    @raise Unavailable: the token store cannot be reached, or a worker did not confirm; perhaps the
        tokens are revoked.
    """
    records = _records(serving)
    assert serving.gateway.revocations is not None
    earlier = _all_tokens_of(serving.gateway.revocations.index, wanted.owner)
    if earlier is None:
        return await revoke(serving, wanted, by)
    new = evolve(wanted, id=earlier.id)
    if (earlier.issued_before or 0.0) >= (new.issued_before or 0.0):
        return earlier
    try:
        was_replaced = await records.replace(new.record(), earlier.record())
    except Unavailable:
        audit.revocation_unconfirmed(new, "made", by)
        raise
    if not was_replaced:  # another request has changed the revocation meanwhile
        return await revoke(serving, wanted, by)
    audit.revocation_made(new, by)
    return new


def _all_tokens_of(index: RevocationIndex, owner: tuple[str, str] | None) -> Revocation | None:
    """Return the revocation of all tokens of an owner, without a moment or an end, if known."""
    for each in {} if owner is None else index.of_owner(owner).values():
        is_of_all = each.token is None and each.issued_before is not None
        if is_of_all and each.active_from is None and each.until is None:
            return each
    return None


async def withdraw(serving: LiveGateway[Any], id_: str, by: Actor) -> bool:
    """
    Withdraw a revocation; return once no worker of this machine applies it any more.

    @return: whether this call has withdrawn the revocation; false if it is unknown.

    @raise Unavailable: the token store cannot be reached, or a worker did not confirm; perhaps the
        revocation is withdrawn.
    """
    records = _records(serving)
    revocations = serving.gateway.revocations
    known = None if revocations is None else revocations.index.known.get(id_)
    old = known or Revocation(id_)
    try:
        was_withdrawn = await records.withdraw(revocation.KIND, id_)
    except Unavailable:
        audit.revocation_unconfirmed(old, "withdrawn", by)
        raise
    if was_withdrawn:
        audit.revocation_withdrawn(old, by)
    return was_withdrawn


def check_room(index: RevocationIndex, owner: tuple[str, str], now: float) -> None:
    """
    Check that an owner who is not an administrator may make one more revocation.

    @raise ExceedsGrant: there are too many revocations of this owner, or of all owners.
    """
    mine = [each for each in index.of_owner(owner).values() if not each.has_ended(now)]
    if len(mine) >= MOST_OF_OWNER or index.owned >= MOST_OF_OWNERS:
        why = "there are too many revocations; revoke all your tokens, or ask an administrator"
        raise ExceedsGrant([Problem("", why)])


def _check_expressions(index: RevocationIndex) -> None:
    if len(index.expressions) >= MOST_EXPRESSIONS:
        why = f"there are {MOST_EXPRESSIONS} revocations with an expression already"
        raise ExceedsGrant([Problem("claims", why)])


def _records(serving: LiveGateway[Any]) -> SharedRecords:
    if serving.records is None or serving.gateway.revocations is None:
        raise Unavailable("credentials cannot be revoked: the configuration has no revocation")
    return serving.records


def listed(
    index: RevocationIndex, owner: tuple[str, str] | None, now: float
) -> Sequence[Revocation]:
    """
    Return the revocations that have not ended, sorted by age.

    @param owner: the owner whose revocations are listed, or C{None} to list all revocations.
    """
    some = index.known if owner is None else index.of_owner(owner)
    found = [each for each in some.values() if not each.has_ended(now)]
    return sorted(found, key=lambda each: each.id)
