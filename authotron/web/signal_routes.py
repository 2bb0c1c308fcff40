"""
The routes by which identity providers report the end of sessions and other events: pushed security
event tokens (RFC 8935), and OpenID Connect Back-Channel Logout.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from authotron.gateway.event_receiver import EventReceiver, Unauthorized
from authotron.jose.security_events import InvalidEvent
from authotron.model.errors import Unavailable
from authotron.web import replies
from authotron.web.later_routes import Call
from authotron.web.replies import Reply

_EVENT = "application/secevent+jwt"
_FORM = "application/x-www-form-urlencoded"

_ACCEPTED = replies.bytes_reply(202, _EVENT, b"", replies.NO_STORE)
"""The reply to a security event token that was received (RFC 8935 section 2.2)."""

_LOGGED_OUT = replies.bytes_reply(200, "text/plain", b"", replies.NO_STORE)

_OUTAGE = replies.outage("The event could not be processed; repeat it later")

_MOST_FIELDS = 8
"""Maximum number of fields in the form of a logout."""


async def push(call: Call) -> Reply:
    """Answer C{POST /ssf/events}, by which an identity provider pushes a security event token."""
    request = call.request
    if request.media_type != _EVENT:
        return _refused("invalid_request", f"the body must be {_EVENT}")
    given = request.authorization
    authorization = None if given is None else given.decode("latin-1")
    token = _text(request.content.getvalue())
    try:
        await EventReceiver(call.serving, call.clock).push(token, authorization)
    except Unauthorized:
        return _refused("authentication_failed", "Authorization does not have the agreed value")
    except InvalidEvent as error:
        return _refused(error.code, error.description)
    except Unavailable:
        return _OUTAGE
    return _ACCEPTED


def _refused(code: str, description: str) -> Reply:
    content = {"err": code, "description": description}
    return replies.json_reply(400, content, replies.NO_STORE)


async def logout(call: Call) -> Reply:
    """Answer C{POST /backchannel-logout}, by which an identity provider ends a session."""
    request = call.request
    if request.media_type != _FORM:
        return _logout_refused(f"the body must be {_FORM}")
    try:
        fields = parse_qs(_text(request.content.getvalue()), max_num_fields=_MOST_FIELDS)
    except ValueError:
        return _logout_refused("the form is malformed")
    tokens = fields.get("logout_token", [])
    if len(tokens) != 1:
        return _logout_refused("the form needs one logout_token")
    try:
        await EventReceiver(call.serving, call.clock).logout(tokens[0])
    except InvalidEvent as error:
        return _logout_refused(error.description)
    except Unavailable:
        return _OUTAGE
    return _LOGGED_OUT


def _logout_refused(description: str) -> Reply:
    content = {"error": "invalid_request", "error_description": description}
    return replies.json_reply(400, content, replies.NO_STORE)


def _text(body: bytes) -> str:
    """Return a body as text; a byte beyond ASCII becomes a character that no token has."""
    return body.decode("latin-1").strip(" \t\r\n")
