"""
The route C{POST /authz}, as in A3S: a client asks whether the bearer of a token may do something
with a resource.
"""

from __future__ import annotations

from attrs import evolve, frozen

from authotron.gateway.asking import StatedRequest, is_restricted
from authotron.gateway.gateway import Gateway
from authotron.gateway.outcomes import Decision
from authotron.gateway.policy import evaluations
from authotron.jose import unverified
from authotron.model.authentication import Authentication
from authotron.model.errors import AmbiguousRequest, MayNotAsk, Problem, UnusableFact
from authotron.policy.reasons import Reason
from authotron.policy.ruling import RESTRICTED, Ruling
from authotron.tokens.grants import is_exchanged
from authotron.web import policy_replies, replies
from authotron.web.authz_body import read_question
from authotron.web.later_routes import Call
from authotron.web.policy_questions import (
    Asking,
    asking,
    bad_token,
    judged,
    wants_explanation,
)
from authotron.web.replies import Reply
from authotron.web.request import Request
from authotron.web.routing import EarlyReply


async def authz(call: Call) -> Reply:
    """Answer C{POST /authz}."""
    return await AuthzRoute(call.gateway).answer(await call.authentication(), call.request)


@frozen
class AuthzRoute:
    """Answers C{POST /authz}; one object is created for each request."""

    _gateway: Gateway[Reply]

    async def answer(self, requester: Authentication, request: Request) -> Reply:
        """
        Answer whether the bearer of a token may do something. The reply is 204 or 403; with
        C{?explain} the reply is 200 or 403 and contains an explanation.

        @param requester: the authenticated client that sends the request.

        @raise EarlyReply: the token is not valid (401), the client may not ask about the bearer of
            the token (403), or the request is malformed (400, 422).
        """
        question = read_question(request)
        each = asking("authz", self._gateway, requester, request)
        decision, found = await judged(self._gateway, question.token, request.sender)
        if question.audience is not None and not self._is_for(
            found, question.token, question.audience
        ):
            raise EarlyReply(bad_token(self._gateway))
        explains = wants_explanation(request)
        try:
            if explains:
                each.caller.check_may_explain()
            each.caller.check_user(*found.identity[:2])
            stated = each.caller.request(
                question.resource,
                question.action,
                question.namespace,
                question.id,
                question.ip,
                question.host,
            )
            ruling = await _ruling(decision, found, stated)
        except MayNotAsk as why:
            raise EarlyReply(each.refused(why)) from None
        except (AmbiguousRequest, UnusableFact) as error:
            raise _unclear(each, error) from None
        each.count(ruling)
        each.log(f"{found.identity.username} in realm {found.identity.realm}", stated, ruling)
        if explains:
            explanation = each.caller.enforcement.explain(found, stated.known)
            return policy_replies.explained(evolve(explanation, ruling=ruling))
        if ruling.allows:
            return replies.ALLOWED
        if ruling.reason is Reason.NO_VERDICT:
            return policy_replies.AUTHORIZER_UNAVAILABLE
        accepted = ",".join(request.header_values("Accept"))
        return policy_replies.forbidden(ruling.reason, accepted)

    def _is_for(self, found: Authentication, token: str, audience: str) -> bool:
        """
        Return whether a token is for an audience: the JWTs minted for an exchanged token name it.

        @param found: the authentication of the bearer of the token.
        """
        if is_exchanged(found) and found.token is not None:
            named = found.token.audience
            return audience in (self._gateway.minter.audience if named is None else named)
        return _names(token, audience)


def _names(token: str, audience: str) -> bool:
    """
    Return whether a token names an audience; an opaque token names no audience.

    @param token: a token that a provider has verified, so that its claims may be believed.
    """
    parsed = unverified.parse(token)
    named = None if parsed is None else parsed.claims.get("aud")
    return audience in named if isinstance(named, list) else audience == named


async def _ruling(
    decision: Decision[Reply], found: Authentication, stated: StatedRequest
) -> Ruling:
    """
    Apply the conditions of a credential, the policies and the authorizer to the request that a
    client of C{POST /authz} states.

    If a condition of the credential depends on a fact that the client does not state, the request
    is refused.
    """
    if is_restricted(found, stated):
        return RESTRICTED
    access = decision.access
    assert access is not None
    authorizer = access.enforcement.authorizer
    if authorizer is not None and access.ruling_alone(stated).allows:
        access = access.with_verdict(await authorizer.verdict(evaluations(found, stated)))
    return access.ruling(stated)


def _unclear(each: Asking, error: AmbiguousRequest | UnusableFact) -> EarlyReply:
    """
    Count a C{POST /authz} request that cannot be answered, and return the reply that states the
    reason.
    """
    each.unclear()
    path = error.part if isinstance(error, AmbiguousRequest) else error.fact
    why = error.why if isinstance(error, AmbiguousRequest) else error.detail
    return EarlyReply(replies.unprocessable([Problem(path, why)]))
