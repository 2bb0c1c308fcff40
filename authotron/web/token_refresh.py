"""The route C{POST /token/refresh}: obtain a new exchanged token by a refresh token."""

from __future__ import annotations

from functools import partial

from twisted.logger import Logger

from authotron.gateway import refreshing
from authotron.jose.dpop import BadProof
from authotron.model.errors import (
    NotConfigured,
    PoliciesUnknown,
    Rejected,
    Unavailable,
    UnusableFact,
)
from authotron.model.request import Facts
from authotron.tokens.exchanged_tokens import Exchanged
from authotron.web import replies, token_proofs
from authotron.web.exchange_body import RefreshBody, exchanged_as_json
from authotron.web.finishing import finish
from authotron.web.later_routes import Call
from authotron.web.replies import Reply
from authotron.web.routing import EarlyReply, no_route
from authotron.web.token_bodies import read_body

_log = Logger()

_INVALID = replies.json_reply(
    400, {"error": "The refresh token is not valid; log in again"}, replies.NO_STORE
)
"""
The reply to a client whose refresh token is not valid, as an OAuth server answers C{invalid_grant}
(RFC 6749 section 5.2); a 401 would have to name a credential that the route reads.
"""


async def answer(call: Call) -> Reply:
    """
    Answer C{POST /token/refresh} with a new exchanged token and a new refresh token.

    The refresh token in the body is the only credential that the route reads.

    @raise EarlyReply: the body is malformed or the refresh token is not valid (400), or the token
        store or the provider of the user does not answer (503).
    """
    text = read_body(call.request, RefreshBody).refresh_token
    try:
        return replies.private_json(exchanged_as_json(await issued(call, text)))
    except Invalid:
        raise EarlyReply(_INVALID) from None


class Invalid(Exception):
    """The refresh token of a client is not valid."""


async def issued(call: Call, text: str) -> Exchanged:
    """
    Return a new exchanged token and a new refresh token for a refresh token.

    @raise Invalid: the refresh token is not valid.
    @raise EarlyReply: the proof of the key is not valid (400), a reload has switched refresh tokens
        off (404), or the token store or the provider of the user does not answer (503).
    """
    try:
        return await _refreshed(call, text)
    except Rejected:
        raise Invalid from None
    except BadProof as bad:
        assert call.gateway.proofs is not None
        raise EarlyReply(token_proofs.refusal(call.gateway.proofs, bad)) from None
    except UnusableFact:
        raise EarlyReply(replies.UNUSABLE_FACT) from None
    except NotConfigured:  # A reload has removed the section since the request was received.
        no_route()
    except PoliciesUnknown:
        raise
    except Unavailable as error:
        _log.warn(
            "refresh answered with 503: {reason}", reason=str(error), event="tokens.refresh.failed"
        )
        raise EarlyReply(replies.UNAVAILABLE) from None


async def _refreshed(call: Call, text: str) -> Exchanged:
    """
    Return a new exchanged token and a new refresh token for a refresh token; the work goes on if
    the client disconnects.

    @raise Rejected: the refresh token is not valid.
    @raise Unavailable: the token store or the provider of the user does not answer.
    @raise NotConfigured: the configuration in use allows no refresh tokens.
    """
    work = refreshing.refresh(
        call.serving,
        text,
        _facts(call),
        lambda: call.request.sender,
        partial(token_proofs.key_of_proof, call),
        call.clock,
    )
    return await finish(work, Rejected, Unavailable, NotConfigured, BadProof, UnusableFact)


def _facts(call: Call) -> Facts:
    """Return the facts of the request, for conditions of the refresh token, such as networks."""
    contracts = call.gateway.contracts
    return contracts.direct.facts(call.request.question(contracts))
