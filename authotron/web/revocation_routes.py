"""
The routes C{/revocations}: revoke credentials, list revocations, and withdraw them.

This module is imported at the first request to one of these routes.
"""

from __future__ import annotations

from collections.abc import Awaitable
from itertools import islice
from typing import TypeVar

from attrs import evolve
from twisted.logger import Logger

from authotron.gateway import revoking
from authotron.gateway.gateway import Gateway
from authotron.gateway.revocations import RevocationIndex
from authotron.model import revocation
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    BadIdentity,
    ExceedsGrant,
    NoSuchToken,
    NotConfigured,
    Problem,
    Rejected,
    Unavailable,
)
from authotron.model.identity import Credential
from authotron.model.revocation import Revocation
from authotron.telemetry import audit
from authotron.telemetry.audit import Actor
from authotron.tokens.grants import grant_in_use, restricted_token_id
from authotron.tokens.service import TokenService
from authotron.web import replies
from authotron.web.finishing import finish
from authotron.web.later_routes import Call
from authotron.web.replies import Reply
from authotron.web.revocation_bodies import NewRevocation, as_json, check_expression, read_new
from authotron.web.routing import EarlyReply
from authotron.web.token_bodies import page_limit, read_query

_log = Logger()
_T = TypeVar("_T")

_NO_SUCH = replies.json_reply(404, {"error": "There is no such revocation"}, replies.NO_STORE)

_NOT_YOURS = Problem("", "only an administrator may do this; you may revoke your own tokens")


async def make(call: Call) -> Reply:
    """
    Revoke credentials.

    Each client may revoke its own tokens: one token, or all tokens that were issued before a time;
    an administrator may revoke all credentials.
    """
    requester = await call.authentication()
    body = read_new(call.request, call.clock.seconds())
    if body.token is not None:
        return await _revoke_text(call, requester, body, body.token)
    wanted = _wanted(call, requester, body)
    return await _publish(call, requester, wanted)


def _wanted(call: Call, requester: Authentication, body: NewRevocation) -> Revocation:
    """
    Return the revocation that a requester wants, if the requester may make it.

    @raise EarlyReply: the requester may not make the revocation, or its expression is malformed.
    """
    now = call.clock.seconds()
    until = body.until
    if until is None and body.token_id is not None:
        until = now + revocation.UNKNOWN_EXPIRY
    wanted = Revocation(
        revocation.new_id(now),
        body.token_id,
        body.realm,
        body.username,
        body.claims,
        now,
        body.issued_before,
        body.active_from,
        until,
        body.reason,
        str(actor(call, requester)),
    )
    if not _tokens(call.gateway).is_admin(requester):
        return _own(wanted, requester, now)
    if wanted.claims is not None:
        check_expression(wanted.claims)
    return wanted


def _own(wanted: Revocation, requester: Authentication, now: float) -> Revocation:
    """
    Return the revocation that a requester wants who is not an administrator, and who may revoke
    only tokens of its own.

    The revocation counts at once, so that the bearer of a stolen token can lock its owner out of
    nothing but the tokens that were issued before.

    @raise EarlyReply: the requester wants to revoke more than own tokens, or is limited to the
        token in use.
    """
    realm, username = requester.identity[:2]
    if wanted.owner not in (None, (realm, username)) or wanted.claims is not None:
        raise EarlyReply(replies.exceeds_grant([_NOT_YOURS]))
    if restricted_token_id(requester) is not None:
        why = (
            "the token in use is exchanged or restricted, and can revoke itself alone, by POST "
            "/logout"
        )
        raise EarlyReply(replies.exceeds_grant([Problem("", why)]))
    if wanted.token is not None:
        return evolve(wanted, realm=realm, username=username, active_from=None)
    return evolve(
        wanted,
        issued_before=min(wanted.issued_before or now, now),
        active_from=None,
        until=None,
    )


async def _publish(call: Call, requester: Authentication, wanted: Revocation) -> Reply:
    made = await revoke_as(call, requester, wanted)
    is_admin = _tokens(call.gateway).is_admin(requester)
    content = as_json(made, for_owner=not is_admin)
    return replies.created_json(content, f"/revocations/{made.id}")


async def revoke_as(call: Call, requester: Authentication, wanted: Revocation) -> Revocation:
    """
    Make a revocation that a requester may make; the work goes on if the client disconnects.

    @raise EarlyReply: there are too many revocations, or the token store cannot be reached.
    """
    by, is_admin = actor(call, requester), _tokens(call.gateway).is_admin(requester)
    if is_admin or wanted.token is not None:
        if not is_admin:
            _check_room(call, requester)
        return await finish(_as_replies(revoking.revoke(call.serving, wanted, by)))
    return await finish(_as_replies(revoking.revoke_all_tokens(call.serving, wanted, by)))


def _check_room(call: Call, requester: Authentication) -> None:
    """@raise EarlyReply: the requester has made too many revocations."""
    now = call.clock.seconds()
    try:
        revoking.check_room(_index(call.gateway), requester.identity[:2], now)
    except ExceedsGrant as error:
        raise EarlyReply(replies.exceeds_grant(error.problems)) from None


async def _revoke_text(
    call: Call, requester: Authentication, body: NewRevocation, text: str
) -> Reply:
    """Revoke the token with the given text, if the requester may revoke the token."""
    found = await _presented(call, text)
    tokens = _tokens(call.gateway)
    is_own = found.identity[:2] == requester.identity[:2]
    is_limited = restricted_token_id(requester) is not None
    if not tokens.is_admin(requester) and (not is_own or is_limited):
        raise EarlyReply(replies.exceeds_grant([_NOT_YOURS]))
    by = actor(call, requester)
    if (id_ := api_token_id(found)) is not None:
        await end_api_token(call, id_, by)
        return replies.REVOKED
    now = call.clock.seconds()
    wanted = revoking.of_presented_token(found, now, body.reason, str(by))
    assert wanted is not None
    until = body.until if body.until is not None and tokens.is_admin(requester) else wanted.until
    return await _publish(call, requester, evolve(wanted, until=until))


async def _presented(call: Call, text: str) -> Authentication:
    """
    Return the authentication of a client that would present the given text as its token.

    @raise EarlyReply: the token is not valid, or cannot be verified now.
    """
    credential = Credential("bearer", text, call.request.sender)
    try:
        return await call.gateway.authenticator.identify([credential], None, is_stated=True)
    except (Rejected, BadIdentity):
        why = "is not valid, so there is nothing to revoke"
        raise EarlyReply(replies.unprocessable([Problem("token", why)])) from None
    except (Unavailable, NotConfigured):
        raise EarlyReply(replies.UNAVAILABLE) from None


def api_token_id(found: Authentication) -> str | None:
    """Return the id of the API token that a client has presented, or C{None}."""
    lineage = grant_in_use(found).lineage
    return lineage[-1] if lineage else None


async def end_api_token(call: Call, id_: str, by: Actor) -> None:
    """
    Delete an API token and its descendants, in the token store and in the caches of all workers.

    @raise EarlyReply: the token store cannot be reached.
    """

    async def end() -> None:
        try:
            await _tokens(call.gateway).end(id_, by)
        except NoSuchToken:
            return  # another request has deleted the API token meanwhile
        finally:
            call.gateway.decisions.invalidate([id_])
            await call.serving.invalidate_all_workers([id_])

    await finish(_as_replies(end()))


async def list_made(call: Call) -> Reply:
    """
    List the revocations that have not ended: all revocations for an administrator, otherwise those
    that name the client as the owner.
    """
    requester = await call.authentication()
    query = read_query(call.request, {"limit", "after", "realm", "username"})
    is_admin = _tokens(call.gateway).is_admin(requester)
    owner: tuple[str, str] | None = requester.identity[:2]
    if is_admin:
        owner = None
        if {"realm", "username"} <= query.keys():
            owner = (query["realm"], query["username"])
    found = revoking.listed(_index(call.gateway), owner, call.clock.seconds())
    after, limit = query.get("after", ""), page_limit(query)
    page = [*islice((each for each in found if each.id > after), limit + 1)]
    content = [as_json(each, for_owner=not is_admin) for each in page[:limit]]
    following = {"next": page[limit - 1].id} if len(page) > limit else {}
    return replies.private_json({"revocations": content, **following})


async def show(call: Call, id_: str) -> Reply:
    """Return one revocation, if the client may see the revocation."""
    requester = await call.authentication()
    is_admin = _tokens(call.gateway).is_admin(requester)
    found = _index(call.gateway).known.get(id_)
    if found is None or not (is_admin or found.owner == requester.identity[:2]):
        return _NO_SUCH
    return replies.private_json(as_json(found, for_owner=not is_admin))


async def withdraw(call: Call, id_: str) -> Reply:
    """
    Withdraw a revocation, if the client is an administrator: otherwise the bearer of a stolen token
    could make other stolen tokens valid again.
    """
    requester = await call.authentication()
    if not _tokens(call.gateway).is_admin(requester):
        return replies.exceeds_grant([Problem("", "only an administrator may do this")])
    withdrawing = revoking.withdraw(call.serving, id_, actor(call, requester))
    was_withdrawn = await finish(_as_replies(withdrawing))
    return replies.REVOKED if was_withdrawn else _NO_SUCH


def actor(call: Call, requester: Authentication) -> Actor:
    """Return the actor that the audit log names for a request."""
    return audit.identified(requester, call.request.sender)


def _tokens(gateway: Gateway[Reply]) -> TokenService:
    tokens = gateway.tokens
    assert tokens is not None, "revocation needs a token store"
    return tokens


def _index(gateway: Gateway[Reply]) -> RevocationIndex:
    assert gateway.revocations is not None
    return gateway.revocations.index


async def _as_replies(work: Awaitable[_T]) -> _T:
    """
    Await work with revocations, and turn its errors into replies.

    @raise EarlyReply: the work failed; the exception contains the reply that says why.
    """
    try:
        return await work
    except ExceedsGrant as error:
        raise EarlyReply(replies.exceeds_grant(error.problems)) from None
    except Unavailable as error:
        _log.warn(
            "token store unavailable, request answered with 503: {reason}",
            reason=str(error),
            event="store.unavailable",
        )
        raise EarlyReply(replies.STORE_UNAVAILABLE) from None
