"""
Authenticate the client that makes a request to an OAuth endpoint, by any credential that
C{/authenticate} accepts, and find out who the bearer of a token in the request is.
"""

from __future__ import annotations

import re

from authotron.gateway.outcomes import REFUSALS, SUCCESS, Decision
from authotron.model.authentication import Authentication
from authotron.model.request import Presented
from authotron.web.later_routes import Call
from authotron.web.oauth.errors import as_error
from authotron.web.routing import EarlyReply

BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""The syntax of a bearer token (RFC 6750 section 2.1)."""


async def authenticated(call: Call) -> Authentication:
    """
    Return the client that makes a request.

    @raise EarlyReply: the client is not authenticated; the error reply is C{invalid_client}.
    """
    try:
        return await call.authentication()
    except EarlyReply as end:
        raise EarlyReply(as_error(end.reply)) from None


async def bearer_of(call: Call, token: str, scheme: str = "Bearer") -> Authentication | None:
    """
    Return the authentication of a client that would present a token as its credential, or C{None}
    if the token is not valid.

    Conditions of the token, such as its networks, are not checked, because they depend on the
    request in which the token is used.

    @param scheme: the scheme under which the client would present the token: C{DPoP} for a token
        that is bound to a key.

    @raise EarlyReply: the token cannot be verified now.
    """
    return await judged(call, f"{scheme} {token}") if BEARER.fullmatch(token) else None


async def judged(
    call: Call, authorization: str, *, is_client: bool = False
) -> Authentication | None:
    """
    Return the authentication of a client that would send a value of C{Authorization}, or C{None} if
    the credential is not valid.

    @param is_client: whether the credential is that of the client that makes the request; metrics
        and access log then show the result, as for every authenticated request.

    @raise EarlyReply: the credential cannot be verified now.
    """
    presented = Presented(authorization.encode("utf-8"))
    began = call.clock.seconds()
    decided = call.gateway.decisions.decide(presented, lambda: call.request.sender)
    decision = decided if isinstance(decided, Decision) else await decided
    outcome = decision.outcome
    result = outcome.result
    if is_client:
        seconds = call.clock.seconds() - began
        call.serving.metrics.request_authenticated(result, outcome.realm, seconds)
        call.request.outcome = outcome
    if result == SUCCESS or result in REFUSALS:
        return outcome.authentication
    raise EarlyReply(as_error(decision.reply))
