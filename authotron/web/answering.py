"""
Answers the authentication request of a proxy, whichever protocol the proxy speaks: authenticates
the client, checks the conditions of its credential, and makes the reply by the contract of the
proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.gateway import outcomes
from authotron.gateway.authorization import Deny, Reason, authorize
from authotron.gateway.gateway import Gateway, LiveGateway
from authotron.gateway.outcomes import Decision, Outcome
from authotron.model.errors import UnusableFact
from authotron.model.identity import Client
from authotron.model.request import Facts, Presented
from authotron.plugin.contract import Contract, Endpoint
from authotron.plugin.fact_sources import AnyQuestion
from authotron.telemetry.suppression import Suppression
from authotron.web import replies
from authotron.web.replies import OPENING, Header, Reply, VariedReply

if TYPE_CHECKING:  # imported only if policies are configured
    from authotron.web.policy_answering import PolicyAnswerer

if TYPE_CHECKING:  # imported when a client first presents a token that is bound to a key
    from authotron.web.bound_answering import BoundAnswerer

DIRECT = "none"
"""
The value of the metric label C{contract} for requests that clients make to the
gateway itself.
"""

NOT_STATED = "the request of the proxy lacks a required header, or states it unclearly"
"""The reason in the access log if a required fact of the client's request cannot be used."""

SEVERAL = "the request has several credentials"
"""The reason in the access log if a contract refuses several C{Authorization} headers."""

TOO_LARGE = "the identity is too large for the proxy"
"""The reason in the access log if a 200 is too large for the proxy."""


Values = Callable[[str], Sequence[str]]
"""Returns all values of a header of the client's request."""


def _no_values(_name: str) -> Sequence[str]:
    """Return no values, because the headers of the client's request are not known."""
    return ()


@define
class Answer:
    """
    The answer to an authentication request of a proxy.

    @ivar outcome: the result of authentication, or C{None} if no provider was asked.
    @ivar reason: why the request was denied although its client was authenticated; for logs.
    """

    reply: Reply
    outcome: Outcome | None = None
    reason: str = ""

    @property
    def is_admitted(self) -> bool:
        """Whether the client was authenticated and may make the request."""
        outcome = self.outcome
        return bool(outcome and outcome.authentication is not None and not self.reason)


@define(eq=False)
class Answerer:
    """
    Answers the authentication requests of proxies with the gateway that is in use; one object
    serves the whole process.

    The method L{answer} is for protocols that know all facts of a request; the routes of the main
    port call it, too. The fast path calls the other methods of the answerer, because the fast path
    must not wait.
    """

    _live: LiveGateway[Reply]
    _clock: IReactorTime
    _suppression: Suppression = field(init=False, repr=False)
    _policy: PolicyAnswerer | None = field(default=None, init=False, repr=False)
    _bound_answerer: BoundAnswerer | None = field(default=None, init=False, repr=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._suppression = Suppression(self._clock)

    async def answer(
        self,
        contract: Contract | None,
        presented: Presented,
        facts: Facts,
        client: Client = None,
        values: Values = _no_values,
    ) -> Answer:
        """
        Authenticate a client, and check whether the client may make its request.

        @param contract: the contract of the proxy, or C{None} for a request to the gateway itself.
        @param client: the address of the client, or a function that returns the address.
        @param values: a function that returns all values of a header of the client's request.

        @raise CancelledError: the caller has cancelled the call, because the proxy has closed its
            connection.
        """
        began = self._clock.seconds()
        gateway = self._live.gateway
        decided = gateway.decisions.decide(presented, lambda: client)
        decision = decided if isinstance(decided, Decision) else await decided
        has_key = is_bound_to_key(decision)
        if has_key:
            proven = self.proven(gateway, contract, decision, facts, values, client)
            decision = proven if isinstance(proven, Decision) else await proven
        self._live.metrics.request_authenticated(
            decision.outcome.result, decision.outcome.realm, self._clock.seconds() - began
        )
        if not has_key:
            consulted = self.consulted(contract, decision, lambda: facts, client)
            decision = consulted if isinstance(consulted, Decision) else await consulted
        denied = self.denied(contract, decision, facts, values)
        if denied is not None:
            return denied
        outcome = decision.outcome
        if contract is None:
            return Answer(self._with_metadata(decision.reply, facts), _of_own(outcome))
        reply, reason = self.dressed(contract, decision, facts)
        return Answer(reply, outcome, reason)

    def decide(
        self,
        gateway: Gateway[Reply],
        contract: Contract,
        presented: Presented,
        facts: Callable[[], Facts],
        client: Callable[[], Client],
        values: Values,
    ) -> Decision[Reply] | Deferred[Decision[Reply]]:
        """
        Decide about the credentials of a proxy's request, verify the proof of the request if the
        token is bound to a key, and ask the authorizer about the request, if there is an
        authorizer.

        @param facts: a function that returns the facts of the client's request.
        @param client: returns the address of the client, or a function that returns the address.
        @param values: a function that returns all values of a header of the client's request.
        """
        decided = gateway.decisions.decide(presented, client)
        if not isinstance(decided, Decision):
            sender = client()
            return decided.addCallback(
                lambda decision: self._checked(
                    gateway, contract, decision, facts, lambda: sender, values
                )
            )
        if decided.is_unconditional:
            return decided
        return self._checked(gateway, contract, decided, facts, client, values)

    def _checked(
        self,
        gateway: Gateway[Reply],
        contract: Contract,
        decision: Decision[Reply],
        facts: Callable[[], Facts],
        client: Callable[[], Client],
        values: Values,
    ) -> Decision[Reply] | Deferred[Decision[Reply]]:
        """Return the decision about one request: with its proof, and a verdict about it."""
        if is_bound_to_key(decision):
            return self.proven(gateway, contract, decision, facts(), values, client())
        if not asks_authorizer(gateway):
            return decision
        return self.consulted(contract, decision, facts, client())

    def proven(
        self,
        gateway: Gateway[Reply],
        contract: Contract | None,
        decision: Decision[Reply],
        facts: Facts,
        values: Values,
        client: Client,
    ) -> Decision[Reply] | Deferred[Decision[Reply]]:
        """
        Verify the proof of a request whose token is bound to a key, and return the decision about
        this request, with the verdict of the authorizer, if an authorizer is configured.

        @param values: a function that returns all values of a header of the client's request.
        """
        if self._bound_answerer is None:
            from authotron.web.bound_answering import BoundAnswerer  # noqa: PLC0415 - see above

            self._bound_answerer = BoundAnswerer(self._note, self.consulted)
        return self._bound_answerer.proven(gateway, contract, decision, facts, values, client)

    def consulted(
        self,
        contract: Contract | None,
        decision: Decision[Reply],
        facts: Callable[[], Facts],
        client: Client,
    ) -> Decision[Reply] | Deferred[Decision[Reply]]:
        """
        Return the decision about one request, together with the verdict of the authorizer. If no
        authorizer is configured, or the request does not come from a proxy, the decision is
        returned unchanged.
        """
        access = decision.access
        if contract is None or access is None or access.enforcement.authorizer is None:
            return decision
        if decision.outcome.authentication is None:
            return decision
        return self._policies.consulted(decision, access, facts(), client)

    def dressed(
        self, contract: Contract, decision: Decision[Reply], facts: Facts | None = None
    ) -> tuple[Reply, str]:
        """
        Return the reply of a contract to a decision, and the reason if an identity is refused
        because it is too large for the proxy.

        The reply is not cached if the contract changes it: replies of contracts would double the
        memory that a cached decision takes.

        @param facts: the facts of the client's request, which are needed if the contract has a
            header that states the path, and for L{names_resource}.
        """
        reply = decision.reply
        if facts is not None and reply.status != outcomes.ADMITTED:
            reply = self._with_metadata(reply, facts)
        reply = _changed(contract, reply)
        if contract.path_header and facts is not None and reply.status == outcomes.ADMITTED:
            [path] = path_fields(contract, facts)
            reply = replies.with_header(reply, path)
        if reply.status != outcomes.ADMITTED or head_bytes(reply) <= contract.max_head_bytes:
            return reply, ""
        return self.too_large(contract, decision, head_bytes(reply), contract.max_head_bytes)

    def too_large(
        self, contract: Contract, decision: Decision[Reply], size: int, most: int
    ) -> tuple[Reply, str]:
        """
        Return the refusal of an identity that is too large for the proxy, and the reason; count and
        log it.

        @param size: the number of bytes of the 200, or of its longest line; the proxy accepts
            C{most} bytes.
        """
        self._live.metrics.answer_too_long(contract.name)
        found = decision.outcome.authentication
        count = self._suppression.count(f"{contract.name} too large")
        if count is not None and found is not None:
            self._log.warn(
                "answer about {username} in realm {realm} has {bytes} bytes, more than contract "
                "{contract} allows ({limit}): refused with 403; give the user fewer roles and "
                "attributes",
                username=found.identity.username,
                realm=found.identity.realm,
                bytes=size,
                contract=contract.name,
                limit=most,
                roles=len(found.identity.roles),
                attributes=len(found.identity.attributes),
                suppressed_count=count,
                event="routes.answer.too_large",
            )
        return _changed(contract, replies.TOO_LARGE), TOO_LARGE

    def denied(
        self,
        contract: Contract | None,
        decision: Decision[Reply],
        facts: Facts,
        values: Values = _no_values,
    ) -> Answer | None:
        """
        Return the refusal of a request that its client may not make, or C{None} if the client may
        make it.

        The conditions of the credential are checked first, and then the policies. Policies are
        about requests to the services behind the proxies, so requests to the gateway itself do not
        depend on policies.

        @param values: a function that returns all values of a header of the client's request.
        """
        found = decision.outcome.authentication
        if found is None:
            return None
        if found.conditions:
            ruling = authorize(found, facts, is_to_gateway=contract is None)
            if isinstance(ruling, Deny):
                return self._refused(contract, decision, ruling, values)
        if contract is not None and contract.path_header:
            unusable = self._without_path(contract, decision, facts)
            if unusable is not None:
                return unusable
        access = decision.access
        if access is None or contract is None:
            return None
        reply, reason = self._policies.ruled(contract.name, decision, access, facts, values)
        if reply is None:
            return None
        reply = _changed(contract, self._with_metadata(reply, facts))
        return Answer(reply, decision.outcome, reason)

    def names_resource(self, decision: Decision[Reply]) -> bool:
        """
        Return whether the reply to a decision depends on the requested resource, because the reply
        is a refusal, and protected resources are configured.
        """
        resources = self._live.gateway.contracts.resources
        return resources is not None and decision.outcome.authentication is None

    def _with_metadata(self, reply: Reply, facts: Facts) -> Reply:
        """
        Return a refusal whose challenge names the metadata of the requested resource, if protected
        resources are configured.
        """
        resources = self._live.gateway.contracts.resources
        if resources is None or reply.status == outcomes.ADMITTED:
            return reply
        from authotron.web.resource_challenges import with_resource_metadata  # noqa: PLC0415 - only needed here

        return with_resource_metadata(reply, resources, facts)

    def _without_path(
        self, contract: Contract, decision: Decision[Reply], facts: Facts
    ) -> Answer | None:
        """
        Return the 400 to a request whose path a 200 could not state, or C{None} if the path can be
        stated.
        """
        try:
            facts.path  # noqa: B018 - the path is read once here, and is then known
        except UnusableFact as unusable:
            self._note(contract.name, unusable)
            refusal = _changed(contract, replies.UNUSABLE_FACT)
            return Answer(refusal, decision.outcome, f"{NOT_STATED}: {unusable}")
        return None

    def authorized(
        self, contract: Contract, decision: Decision[Reply], facts: Facts, values: Values
    ) -> tuple[Reply, str]:
        """
        Return the reply to a proxy's request, and the reason if an authenticated client is denied,
        for protocols that do not send HTTP replies.

        A condition that raises an exception refuses the request.

        @param values: a function that returns all values of a header of the client's request.
        """
        try:
            denied = self.denied(contract, decision, facts, values)
        except Exception:  # noqa: BLE001 - an exception in a condition refuses the request
            self._log.failure("checking a condition failed", event="routes.request.broken")
            return replies.BROKEN, ""
        if denied is None:
            return self._with_metadata(decision.reply, facts), ""
        return denied.reply, denied.reason

    def denied_stated(
        self,
        contract: Contract,
        decision: Decision[Reply],
        stated: Mapping[str, object],
        facts: Callable[[], Facts],
        values: Values,
    ) -> Answer | None:
        """
        Return the same as L{denied}, with less work, for a request whose method and path are known,
        and whose proxy names no namespace.

        @param stated: the known facts C{method} and C{path} of the request.
        @param facts: a function that returns all facts of the request; it is called only if the
            known facts are not enough.
        """
        found, access = decision.outcome.authentication, decision.access
        if found is None or found.conditions or access is None:
            return self.denied(contract, decision, facts(), values)
        reply, reason = self._policies.ruled_by(
            contract.name, decision, access, access.asked_by(stated, facts), values
        )
        if reply is None:
            return None
        reply = _changed(contract, self._with_metadata(reply, facts()))
        return Answer(reply, decision.outcome, reason)

    def is_settled(self, decision: Decision[Reply], facts: Facts) -> bool:
        """
        Return whether the policies allow each further request with equal facts of the same client,
        at any time, so that the policies need not be applied again.
        """
        found, access = decision.outcome.authentication, decision.access
        if found is None or found.conditions or access is None:
            return False
        return self._policies.is_settled(access, facts)

    @property
    def _policies(self) -> PolicyAnswerer:
        if self._policy is None:
            from authotron.web.policy_answering import PolicyAnswerer  # noqa: PLC0415 - see above

            self._policy = PolicyAnswerer(self._note)
        return self._policy

    def _refused(
        self, contract: Contract | None, decision: Decision[Reply], ruling: Deny, values: Values
    ) -> Answer:
        """Return the answer to a request that does not meet a condition of its credential."""
        if ruling.unusable is not None:
            self._note(None if contract is None else contract.name, ruling.unusable)
        reply = replies.denied(ruling)
        if ruling.reason is Reason.UNPROVEN:
            reply = self._wrong_certificate(decision)
        if contract is not None:
            if decision.access is not None and ruling.reason is Reason.CONDITION_FAILED:
                reply = self._policies.restricted(values)
            reply = _changed(contract, reply)
        return Answer(reply, decision.outcome, ruling.text)

    def _wrong_certificate(self, decision: Decision[Reply]) -> Reply:
        """
        Return the 401 to a client that does not use the certificate to which its token is bound
        (RFC 8705 section 3).
        """
        found, proofs = decision.outcome.authentication, self._live.gateway.proofs
        binding = found and found.token and found.token.binding
        if binding and binding.jkt is not None and proofs is not None:
            return replies.challenged(proofs.challenge(outcomes.INVALID_TOKEN))
        return replies.WRONG_CERTIFICATE

    def unstated(
        self, contract: Contract, endpoint: Endpoint, question: AnyQuestion
    ) -> Answer | None:
        """
        Return the answer to a proxy's request that lacks a required fact, or that has several
        credentials although the contract refuses them, or C{None} for all other requests.
        """
        if contract.authorization == "refuse" and _has_several(question):
            return Answer(_changed(contract, replies.BAD_REQUEST), None, SEVERAL)
        unusable = endpoint.problem(question)
        if unusable is None:
            return None
        self._note(contract.name, unusable)
        return Answer(_changed(contract, replies.UNUSABLE_FACT), None, f"{NOT_STATED}: {unusable}")

    def _note(self, contract: str | None, unusable: UnusableFact) -> None:
        """
        Count and log a fact of a request that cannot be used; similar log events are
        suppressed.

        @param contract: the name of the contract, or C{None} for a request to the gateway itself.
        """
        name = contract or DIRECT
        self._live.metrics.fact_unusable(name, unusable.fact, unusable.flaw.value)
        kind = f"{name} {unusable.fact} {unusable.flaw.value}"
        count = self._suppression.count(kind)
        if count is not None:
            self._log.warn(
                "request by contract {contract} refused with 400: {reason}",
                contract=name,
                fact=unusable.fact,
                flaw=unusable.flaw.value,
                reason=str(unusable),
                suppressed_count=count,
                event="routes.question.refused",
            )


def asks_authorizer(gateway: Gateway[Reply]) -> bool:
    """
    Return whether the configuration has an authorizer, which must also allow each request that the
    policy allows.
    """
    return gateway.authorizer is not None


def is_bound_to_key(decision: Decision[Reply]) -> bool:
    """Return whether a decision is about a token that counts only with a proof of its key."""
    found = decision.outcome.authentication
    if found is None or found.token is None or found.token.binding is None:
        return False
    return found.token.binding.jkt is not None


def _of_own(outcome: Outcome) -> Outcome:
    """
    Return the outcome of a request that a client makes to the gateway itself, without the
    conditions by which the token of the client is bound: the request meets these conditions.
    """
    found = outcome.authentication
    if found is None or found.token is None or found.token.binding is None:
        return outcome
    from authotron.gateway import bound_tokens  # noqa: PLC0415 - only needed for bound tokens

    return evolve(outcome, authentication=bound_tokens.unbound(found))


def identity_fields(
    contract: Contract, decision: Decision[Reply], facts: Facts
) -> Sequence[Header]:
    """
    Return the headers by which a 200 names the identity, for protocols that do not send HTTP
    replies; the result is empty if the decision has no identity, so that no request may pass.
    """
    found, token = decision.outcome.authentication, replies.minted_jwt(decision.reply)
    if found is None or token is None:
        return ()
    authorization = b"Authorization", b"Bearer " + token.encode()
    identity = contract.profile.fields(found.identity, token)
    return [authorization, *identity, *path_fields(contract, facts)]


def path_fields(contract: Contract, facts: Facts) -> Sequence[Header]:
    """
    Return the header that states the path of the client's request, in canonical spelling, if the
    contract has such a header.
    """
    name = contract.path_header
    return [(name.encode(), facts.path.encode("ascii"))] if name else ()


def _has_several(question: AnyQuestion) -> bool:
    """
    Return whether a proxy's request has several credentials: several C{Authorization} headers, or
    one with a comma, by which proxies join several headers.
    """
    return "," in ",".join(question.values("Authorization"))


def head_bytes(reply: Reply) -> int:
    """Return the maximum number of bytes that the head of a reply takes on the wire."""
    return OPENING + len(reply.wire) - reply.length


def _changed(contract: Contract, reply: Reply) -> Reply:
    """Change a reply as the contract of a proxy wants it."""
    answers = contract.answers
    if answers is None:
        return reply
    if reply.status == outcomes.ADMITTED:
        if isinstance(reply, VariedReply):
            reply = reply.others.get(contract.profile.name, reply)
        removal = contract.removal
        return Reply(reply.status, removal + reply.wire, reply.length) if removal else reply
    status = answers.statuses.get(reply.status, reply.status)
    if status != reply.status:
        reply = evolve(reply, status=status)
    if answers.has_error_headers:
        refused = status == HTTPStatus.UNAUTHORIZED
        return replies.with_error_headers(reply, 401 if refused else 403)
    return reply
