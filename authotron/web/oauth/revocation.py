"""C{POST /oauth/revoke}: a client revokes a token that the gateway has issued (RFC 7009)."""

from __future__ import annotations

from http import HTTPStatus

from authotron.gateway.gateway import Gateway
from authotron.model.authentication import Authentication
from authotron.model.errors import NotConfigured, Unavailable
from authotron.model.revocation import of_token
from authotron.model.token import REFRESH_PREFIX
from authotron.web import revocation_routes
from authotron.web.finishing import finish
from authotron.web.later_routes import Call
from authotron.web.oauth.caller import authenticated
from authotron.web.oauth.errors import NOT_CACHED, UNAVAILABLE, as_error, error_reply
from authotron.web.oauth.form import read_form
from authotron.web.oauth.known_tokens import KnownToken, known_token
from authotron.web.replies import Reply, text_reply
from authotron.web.routing import EarlyReply
from authotron.web.token_routes import TokenRoutes

REVOKED = text_reply("text/plain; charset=utf-8", b"", *NOT_CACHED)
"""
The reply to each request, whether or not the token was valid or belonged to the client, so that it
tells nothing about the token (RFC 7009 section 2.2).
"""

_UNSUPPORTED = error_reply(
    "unsupported_token_type",
    "JWTs cannot be revoked with the configuration of the gateway; they expire.",
)


async def revoke(call: Call) -> Reply:
    """
    Answer C{POST /oauth/revoke}: revoke a token, and all tokens that were derived from it.

    Clients may revoke their own tokens, and administrators the tokens of all owners. A refresh
    token may be revoked by each client that has it.
    """
    caller = await authenticated(call)
    form = read_form(call.request)
    text = form.needed("token")
    if call.gateway.families is not None and text.startswith(REFRESH_PREFIX):
        await _end_family(call, caller, text)
        return REVOKED
    token = await known_token(call, text)
    if token is None or not _may_revoke(call.gateway, caller, token):
        return REVOKED
    if await _is_ended(call, token):
        return REVOKED
    if token.is_stored:
        await _revoke_stored(call, caller, token)
    elif call.gateway.revocations is None:
        return _UNSUPPORTED
    else:
        await _revoke_signed(call, caller, token)
    return REVOKED


async def _is_ended(call: Call, token: KnownToken) -> bool:
    """
    Return whether a token is not valid, so that it need not be revoked. While a provider cannot
    look the user up, clients can still revoke tokens.
    """
    try:
        return await token.bearer(call) is None
    except EarlyReply:
        return False


async def _end_family(call: Call, caller: Authentication, text: str) -> None:
    """
    End the refresh tokens of a login, and revoke the exchanged tokens that were issued for them.

    @raise EarlyReply: the token store, or a worker process, has not confirmed the revocation.
    """
    from authotron.gateway import refreshing  # noqa: PLC0415 - only needed for refresh tokens

    by = revocation_routes.actor(call, caller)
    try:
        work = refreshing.end(call.serving, text, by, call.clock)
        await finish(work, Unavailable, NotConfigured)
    except (Unavailable, NotConfigured):
        raise EarlyReply(UNAVAILABLE) from None


def _may_revoke(gateway: Gateway[Reply], caller: Authentication, token: KnownToken) -> bool:
    is_admin = gateway.tokens is not None and gateway.tokens.is_admin(caller)
    return is_admin or token.is_of(caller)


async def _revoke_signed(call: Call, caller: Authentication, token: KnownToken) -> None:
    """
    Revoke a JWT, and all tokens that were derived from it.

    @raise EarlyReply: the token store, or a worker process, has not confirmed the revocation, or
        the client has made too many revocations.
    """
    now, by = call.clock.seconds(), revocation_routes.actor(call, caller)
    wanted = of_token(token.id, token.owner, now, token.claims["exp"], "", str(by))
    try:
        await revocation_routes.revoke_as(call, caller, wanted)
    except EarlyReply as end:
        raise EarlyReply(as_error(end.reply)) from None


async def _revoke_stored(call: Call, caller: Authentication, token: KnownToken) -> None:
    """
    Revoke an API token and its descendants.

    @raise EarlyReply: the token store, or a worker process, has not confirmed the revocation.
    """
    invalidate, sender = call.serving.invalidate_all_workers, call.request.sender
    routes = TokenRoutes(call.gateway, invalidate, call.clock, lambda: sender)
    try:
        await routes.revoke(caller, token.id)
    except EarlyReply as end:
        if end.reply.status != HTTPStatus.NOT_FOUND:  # else the token was revoked meanwhile
            raise EarlyReply(UNAVAILABLE) from None
