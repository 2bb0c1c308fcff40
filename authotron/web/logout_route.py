"""
The route C{POST /logout}, by which a client revokes the token that it presents, or all its tokens.

This module is imported at the first request to this route.
"""

from __future__ import annotations

from attrs import evolve

from authotron.gateway import revoking
from authotron.model import cookies
from authotron.model.authentication import Authentication
from authotron.model.errors import Problem
from authotron.tokens.grants import restricted_token_id
from authotron.web import replies, revocation_routes
from authotron.web.json_bodies import read_object
from authotron.web.later_routes import Call
from authotron.web.replies import Reply
from authotron.web.request import Request
from authotron.web.routing import EarlyReply

_NO_TOKEN = Problem(
    "",
    "the client did not present a token, and a password or certificate does not end by a logout; "
    'send {"everywhere": true} to revoke all your tokens',
)
_CROSS_SITE = Problem("", "POST /logout must not be sent by a page of another site")

_REASON = "logout"


async def answer(call: Call) -> Reply:
    """
    Revoke the token that the client presents until the token expires, and delete the cookies that
    carry credentials.

    If the token was issued together with a refresh token, the refresh token ends, too, and all
    tokens that were issued for it. With C{{"everywhere": true}} in the body, all tokens that were
    issued to the client before now are revoked.
    """
    requester = await call.authentication()
    if _is_cross_site(call.request):
        return replies.exceeds_grant([_CROSS_SITE])
    if _is_everywhere(call.request):
        await _log_out_everywhere(call, requester)
    else:
        await _log_out(call, requester)
    return _without_cookies(call, replies.REVOKED)


async def _log_out(call: Call, requester: Authentication) -> None:
    by = revocation_routes.actor(call, requester)
    if (id_ := revocation_routes.api_token_id(requester)) is not None:
        await revocation_routes.end_api_token(call, id_, by)
        return
    now = call.clock.seconds()
    wanted = revoking.of_presented_token(requester, now, _REASON, str(by))
    if call.gateway.families is not None:
        from authotron.gateway import refreshing  # noqa: PLC0415 - only needed for refresh tokens

        login = refreshing.login_of(call.gateway, requester, now)
        wanted = wanted if login is None else evolve(login, reason=_REASON, by=str(by))
    if wanted is None:
        raise EarlyReply(replies.malformed([_NO_TOKEN]))
    await revocation_routes.revoke_as(call, requester, wanted)


async def _log_out_everywhere(call: Call, requester: Authentication) -> None:
    if restricted_token_id(requester) is not None:
        why = (
            "the token in use is exchanged or restricted, and can revoke itself alone; present a "
            "password, or a token without restrictions"
        )
        raise EarlyReply(replies.exceeds_grant([Problem("everywhere", why)]))
    by = str(revocation_routes.actor(call, requester))
    realm, username = requester.identity[:2]
    wanted = revoking.of_all_tokens(realm, username, call.clock.seconds(), _REASON, by)
    await revocation_routes.revoke_as(call, requester, wanted)


def _is_everywhere(request: Request) -> bool:
    """
    Return whether all tokens of the client are to be revoked; the body may be empty.

    @raise EarlyReply: the body is not a JSON object with no other key than C{everywhere}.
    """
    if not request.content.getvalue():
        return False
    if request.media_type != "application/json":
        raise EarlyReply(replies.UNSUPPORTED_MEDIA_TYPE)
    given = read_object(request, 1)
    everywhere = given.pop("everywhere", False)
    if given or not isinstance(everywhere, bool):
        problem = Problem("", "the only key is `everywhere`, which is true or false")
        raise EarlyReply(replies.unprocessable([problem]))
    return everywhere


def _is_cross_site(request: Request) -> bool:
    """
    Return whether a page of another site causes the request: a current browser says so in the
    header C{Sec-Fetch-Site} (Fetch Metadata Request Headers, 2.4).
    """
    sites = request.requestHeaders.getRawHeaders(b"Sec-Fetch-Site", [])
    return any(site.strip().lower() not in (b"same-origin", b"none") for site in sites)


def _without_cookies(call: Call, reply: Reply) -> Reply:
    """Return a reply by which the browser deletes the cookies in which it sent credentials."""
    sent = b";".join(call.request.requestHeaders.getRawHeaders(b"Cookie", []))
    for name in call.gateway.credential_names.cookies:
        if cookies.value(sent, cookies.finder(name)) is not None:
            deletion = f"{name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
            reply = replies.with_header(reply, (b"Set-Cookie", deletion.encode("ascii")))
    return reply
