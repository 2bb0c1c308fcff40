"""The route C{POST /token/exchange}: exchange a credential for a narrower token."""

from __future__ import annotations

from attrs import evolve
from twisted.logger import Logger

from authotron.gateway.exchange import exchange
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    ExceedsGrant,
    NotConfigured,
    PoliciesUnknown,
    Unavailable,
)
from authotron.tokens.exchange import ExchangeRequest
from authotron.tokens.exchanged_tokens import Exchanged
from authotron.web import replies
from authotron.web.exchange_body import ExchangeBody, exchanged_as_json
from authotron.web.later_routes import Call
from authotron.web.replies import Reply
from authotron.web.routing import EarlyReply, no_route
from authotron.web.token_bodies import read_body

_log = Logger()


async def answer(call: Call) -> Reply:
    """
    Answer C{POST /token/exchange} with a token that grants a part of what the client's credential
    grants.

    @raise EarlyReply: the client is not authenticated (401), the body is malformed (400), or the
        client requests more than its credential allows (403).
    """
    requester = await call.authentication()
    requested = read_body(call.request, ExchangeBody).as_request()
    if requested.binding is not None or call.gateway.proofs is not None:
        from authotron.web import token_proofs  # noqa: PLC0415 - only needed for bound tokens

        binding = await token_proofs.binding_of(call, requester, requested.binding)
        requested = evolve(requested, binding=binding)
    try:
        found = await issued(call, requester, requested)
    except ExceedsGrant as error:
        raise EarlyReply(replies.exceeds_grant(error.problems)) from None
    return replies.private_json(exchanged_as_json(found))


async def issued(
    call: Call,
    requester: Authentication,
    requested: ExchangeRequest,
    actor: Authentication | None = None,
) -> Exchanged:
    """
    Issue a token that grants a part of what the credential of a client grants.

    @param actor: the identity that requests the token, to act in the name of the client.

    @raise ExceedsGrant: the client requests more than its credential allows.
    @raise EarlyReply: the token store does not answer (503), or a reload has switched the exchange
        off (404).
    """
    try:
        return await exchange(
            call.serving.gateway, requester, requested, call.request.sender, actor=actor
        )
    except NotConfigured:  # A reload has removed the section since the request was received.
        no_route()
    except PoliciesUnknown:
        raise
    except Unavailable as error:
        _log.warn(
            "token store unavailable, exchange answered with 503: {reason}",
            reason=str(error),
            event="store.unavailable",
        )
        raise EarlyReply(replies.STORE_UNAVAILABLE) from None
