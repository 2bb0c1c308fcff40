"""
Code that all APIs share by which clients ask about policies: authentication of the client, metrics
and audit log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from authotron.gateway import outcomes
from authotron.gateway.asking import Caller, StatedRequest
from authotron.gateway.gateway import Gateway
from authotron.gateway.outcomes import Decision
from authotron.model.authentication import Authentication
from authotron.model.errors import MayNotAsk
from authotron.model.request import Presented
from authotron.policy.ruling import Ruling
from authotron.telemetry import audit
from authotron.telemetry.audit import Actor
from authotron.web import replies
from authotron.web.replies import Reply
from authotron.web.request import Request
from authotron.web.routing import EarlyReply, no_route

ALLOW, DENY, LISTED, REFUSED, UNCLEAR = RESULTS = ("allow", "deny", "listed", "refused", "unclear")
"""The label C{result} of the metric C{authotron_policy_questions_total}."""

_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""The syntax of a bearer token (RFC 6750 section 2.1)."""


@frozen
class Asking:
    """
    A request in which a client asks the gateway what the policies allow.

    @ivar api: the name of the API by which the client asks, for metrics and for the log.
    @ivar client: the IP address of the client, which is written to the log.
    """

    api: str
    caller: Caller
    client: str

    def count(self, ruling: Ruling) -> None:
        """Count the answer to a client's question about the policies."""
        result = ALLOW if ruling.allows else DENY
        self.caller.enforcement.observer.policy_asked(self.api, result)

    def log(self, about: str, request: StatedRequest, ruling: Ruling) -> None:
        """
        Log the answer to a client's question about the policies.

        @param about: the identity whose permissions the client asks about.
        """
        audit.policy_asked(
            self._by,
            self.api,
            about,
            {"verb": request.verb, "resource": request.resource, "namespace": request.namespace},
            ALLOW if ruling.allows else DENY,
            ruling.reason.value,
            ruling.rule.name if ruling.rule else "",
        )

    def log_several(self, answers: Sequence[bool]) -> None:
        """
        Log that several questions in one request were answered. One log line stands for all
        questions of a request, so that a short request cannot write a long log.
        """
        audit.policy_questions_asked(self._by, self.api, len(answers), sum(answers))

    @property
    def _by(self) -> Actor:
        return audit.identified(self.caller.authentication, self.client)

    def searched(self, about: str, action: str, resource: str, number: int) -> None:
        """Count and log a search that has found C{number} results."""
        self.caller.enforcement.observer.policy_asked(self.api, ALLOW if number else DENY)
        audit.policy_searched(self._by, self.api, about, action, resource, number)

    def listed(self, about: str, namespace: str) -> None:
        """
        Count and log that a client has requested the permission list of an identity.

        @param about: the identity whose permissions the client asks about, for the log.
        """
        self.caller.enforcement.observer.policy_asked(self.api, LISTED)
        audit.policy_listed(self._by, self.api, about, namespace)

    def unclear(self) -> None:
        """Count a question about the policies that is too unclear to be answered."""
        self.caller.enforcement.observer.policy_asked(self.api, UNCLEAR)

    def refused(self, why: MayNotAsk) -> Reply:
        """
        Count and log a question about the policies that the client may not ask, and return the 403
        reply.
        """
        self.caller.enforcement.observer.policy_asked(self.api, REFUSED)
        audit.policy_question_refused(self._by, self.api, str(why))
        return replies.may_not_ask(str(why))


def asking(
    api: str, gateway: Gateway[Reply], requester: Authentication, request: Request
) -> Asking:
    """
    Return the object that answers a client's questions about the policies.

    @param requester: the authenticated client that sends the request.

    @raise NotFound: the configuration in use has no policies.
    """
    enforcement = gateway.enforcement
    if enforcement is None:  # A reload has removed the policies since the request was received.
        no_route()
    contracts = gateway.contracts
    address = contracts.direct.client(request.question(contracts))
    return Asking(api, Caller(requester, enforcement, address), request.sender)


def wants_explanation(request: Request) -> bool:
    """
    Return whether the query of a request has the parameter C{explain}, with any value but 0 and
    C{false}.
    """
    query = request.uri.partition(b"?")[2]
    for parameter in query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        if name == b"explain":
            return value not in (b"0", b"false")
    return False


async def judged(
    gateway: Gateway[Reply], token: str, client: str
) -> tuple[Decision[Reply], Authentication]:
    """
    Verify a token that a client states in a question about policies; return the decision and the
    authentication of the token's bearer.

    @param client: the address of the client, for the log.

    @raise EarlyReply: the token is not valid, or cannot be verified now.
    """
    if not _BEARER.fullmatch(token):
        raise EarlyReply(bad_token(gateway))
    decision = await _decided(gateway, b"Bearer ", token, client)
    if decision.outcome.result in outcomes.REFUSALS and gateway.proofs is not None:
        bound = await _decided(gateway, b"DPoP ", token, client)
        if bound.outcome.authentication is not None:
            decision = bound
    found = decision.outcome.authentication
    if found is None:
        is_refused = decision.outcome.result in outcomes.REFUSALS
        raise EarlyReply(bad_token(gateway, decision.reply) if is_refused else decision.reply)
    if found.token is not None and found.token.binding is not None:
        # The question is what the token allows to a client that proves to have its key.
        from authotron.gateway import bound_tokens  # noqa: PLC0415 - only needed for bound tokens

        found = bound_tokens.unbound(found)
    return decision, found


async def _decided(
    gateway: Gateway[Reply], scheme: bytes, token: str, client: str
) -> Decision[Reply]:
    """Return the decision about a token, as if its bearer presented the token under a scheme."""
    presented = Presented(scheme + token.encode("ascii"))
    decided = gateway.decisions.decide(presented, lambda: client)
    return decided if isinstance(decided, Decision) else await decided


def bad_token(gateway: Gateway[Reply], refusal: Reply | None = None) -> Reply:
    """
    Return the 401 to a client that states a token which is not valid.

    @param refusal: the reply to a request with the token, or C{None} if no provider was asked.
    """
    if refusal is None:
        decided = gateway.decisions.decide(Presented())
        assert isinstance(decided, Decision)
        refusal = decided.reply
    return replies.bad_token(refusal)
