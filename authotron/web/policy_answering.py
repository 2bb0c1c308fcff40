"""
Applies the policies to the authentication requests of proxies: counts and logs the rulings, and
makes the reply if the policies do not allow a request.

The module is imported only if policies are configured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import Started, start
from authotron.gateway.authorization import Deny, authorize
from authotron.gateway.authorizer import Authorizer
from authotron.gateway.outcomes import Decision
from authotron.gateway.policy import ALLOW, BY_RULE, Asked, PolicyAccess, evaluations
from authotron.limits.slots import CLIENT
from authotron.model.errors import PoliciesUnknown, UnusableFact
from authotron.model.identity import Client
from authotron.model.request import Facts
from authotron.plugin.evaluation import Evaluation
from authotron.policy.reasons import Reason
from authotron.policy.ruling import UNUSABLE, Ruling
from authotron.telemetry import audit
from authotron.web import policy_replies, replies
from authotron.web.replies import Reply

DENY, OBSERVED, UNDECIDED = "deny", "observed", "undecided"
"""
The label C{result} of the metric C{policy_rulings_total} for requests that the policies do not
allow.
"""

_ALLOWING = (Reason.ALLOWED, Reason.DEFAULT)

_UNDECIDED = (Reason.UNUSABLE, Reason.NO_VERDICT)
"""Reasons for which the policies neither allow nor deny a request."""

_OF_AUTHORIZER = (Reason.AUTHORIZER, Reason.NO_VERDICT)
"""Reasons of a ruling that occur only if an authorizer is configured."""


def rulings(*, observes: bool, has_authorizer: bool) -> list[tuple[str, str]]:
    """
    Return the results and reasons of rulings that the metrics count.

    @param observes: whether policies are only observed.
    """
    reasons = [each for each in Reason if has_authorizer or each not in _OF_AUTHORIZER]
    return [(_result(each, observes=observes), each.value) for each in reasons]


def _result(reason: Reason, *, observes: bool) -> str:
    """Return the label C{result} of a ruling."""
    if reason in _ALLOWING:
        return ALLOW
    if observes:
        return OBSERVED
    return UNDECIDED if reason in _UNDECIDED else DENY


UNKNOWN = "policies-unknown"
"""
The label C{reason} of requests that came before the policies in the token store were known.
"""

_ALLOWED = None, ""


@define(eq=False)
class PolicyAnswerer:
    """
    Applies the policies to the authentication requests of proxies.

    @ivar _note: a function that counts and logs a fact of a request that cannot be used, with the
        name of the contract.
    """

    _note: Callable[[str, UnusableFact], None]
    _logger = Logger()

    def ruled(
        self,
        contract: str,
        decision: Decision[Reply],
        access: PolicyAccess,
        facts: Facts,
        values: Callable[[str], Sequence[str]],
    ) -> tuple[Reply | None, str]:
        """
        Apply the policies to a proxy's request, and return the reply if they do not allow the
        request, with the reason for the log.

        @param values: a function that returns all values of a header of the client's request.
        """
        try:
            asked = access.asked(facts)
        except UnusableFact as unusable:
            return self._unusable(contract, decision, access, facts, unusable)
        return self.ruled_by(contract, decision, access, asked, values)

    def ruled_by(
        self,
        contract: str,
        decision: Decision[Reply],
        access: PolicyAccess,
        asked: Asked,
        values: Callable[[str], Sequence[str]],
    ) -> tuple[Reply | None, str]:
        """Apply the policies as L{ruled} does, to a request in the form that rules read."""
        began = access.now()
        try:
            ruling = access.rule(asked, began)
        except UnusableFact as unusable:
            return self._unusable(contract, decision, access, asked.facts(), unusable)
        except PoliciesUnknown as unknown:
            return self._unknown(access, unknown)
        enforcement = access.enforcement
        if ruling.allows:
            # Reading the value of an enumeration member would take longer than looking up the
            # ruling.
            reason = BY_RULE if ruling.rule else ruling.reason.value
            enforcement.observer.policy_ruled(ALLOW, reason, access.now() - began)
            return _ALLOWED
        observes = enforcement.observes
        result, seconds = _result(ruling.reason, observes=observes), access.now() - began
        enforcement.observer.policy_ruled(result, ruling.reason.value, seconds)
        if result == UNDECIDED:
            return policy_replies.AUTHORIZER_UNAVAILABLE, ruling.text
        self._log(decision, ruling, asked.facts(), observes=observes)
        if observes:
            return _ALLOWED
        return policy_replies.refused(ruling, _accept(values)), ruling.text

    def consulted(
        self, decision: Decision[Reply], access: PolicyAccess, facts: Facts, client: Client
    ) -> Decision[Reply] | Deferred[Decision[Reply]]:
        """
        Ask the authorizer about a request that the rules allow, and return the decision with the
        verdict of the authorizer. The verdict applies to this request alone.

        A decision without a verdict of the authorizer does not allow the request, so an exception
        leads to a refusal.
        """
        try:
            started = self._consult(decision, access, facts, client)
        except Exception:  # noqa: BLE001 - the request is refused if there is no verdict
            self._logger.failure("asking the authorizer failed", event="routes.request.broken")
            return decision
        if isinstance(started, Failure):
            self._logger.failure(
                "asking the authorizer failed", started, event="routes.request.broken"
            )
            return decision
        return started

    def _consult(
        self, decision: Decision[Reply], access: PolicyAccess, facts: Facts, client: Client
    ) -> Started[Decision[Reply]]:
        """Start to ask the authorizer about a request, unless the request is refused anyway."""
        found, authorizer = decision.outcome.authentication, access.enforcement.authorizer
        assert found is not None
        assert authorizer is not None
        try:
            if found.conditions and isinstance(authorize(found, facts), Deny):
                return decision
            asked = access.asked(facts)
            if not access.rule_alone(asked).allows:
                return decision
            questions = evaluations(found, asked)
        except UnusableFact as unusable:
            return evolve(decision, access=access.with_verdict(unusable))
        except PoliciesUnknown:
            return decision  # The rules are applied again to build the 503 reply.
        before = CLIENT.set(client)
        try:
            return start(_with_verdict(decision, access, authorizer, questions))
        finally:
            CLIENT.reset(before)

    @staticmethod
    def is_settled(access: PolicyAccess, facts: Facts) -> bool:
        """Return whether a rule allows equal requests at any time."""
        try:
            asked = access.asked(facts)
            return access.is_settled(asked) and access.rule(asked).reason is Reason.ALLOWED
        except UnusableFact:
            return False

    @staticmethod
    def _unknown(access: PolicyAccess, unknown: PoliciesUnknown) -> tuple[Reply | None, str]:
        """Return the reply to a proxy's request while the policies are not known."""
        enforcement = access.enforcement
        if enforcement.observes:
            enforcement.observer.policy_ruled(OBSERVED, UNKNOWN)
            return _ALLOWED
        enforcement.observer.policy_ruled(UNDECIDED, UNKNOWN)
        return replies.UNAVAILABLE, str(unknown)

    def _unusable(
        self,
        contract: str,
        decision: Decision[Reply],
        access: PolicyAccess,
        facts: Facts,
        unusable: UnusableFact,
    ) -> tuple[Reply | None, str]:
        """Return the reply to a proxy's request that lacks a fact on which the policies depend."""
        enforcement = access.enforcement
        if enforcement.observes:
            enforcement.observer.policy_ruled(OBSERVED, Reason.UNUSABLE.value)
            self._log(decision, UNUSABLE, facts, observes=True)
            return _ALLOWED
        enforcement.observer.policy_ruled(UNDECIDED, Reason.UNUSABLE.value)
        self._note(contract, unusable)
        return replies.UNUSABLE_FACT, f"{UNUSABLE.text}: {unusable}"

    @staticmethod
    def restricted(values: Callable[[str], Sequence[str]]) -> Reply:
        """Return the reply to a request that a condition of the credential does not allow."""
        return policy_replies.forbidden(Reason.RESTRICTED, _accept(values))

    @staticmethod
    def _log(decision: Decision[Reply], ruling: Ruling, facts: Facts, *, observes: bool) -> None:
        found = decision.outcome.authentication
        assert found is not None
        audit.request_denied(
            found,
            ruling.reason.value,
            ruling.rule.name if ruling.rule else "",
            _stated(facts),
            observes=observes,
        )


async def _with_verdict(
    decision: Decision[Reply],
    access: PolicyAccess,
    authorizer: Authorizer,
    questions: Sequence[Evaluation],
) -> Decision[Reply]:
    """
    Return the decision for one request, together with the verdict of the authorizer about this
    request.
    """
    verdict = await authorizer.verdict(questions)
    return evolve(decision, access=access.with_verdict(verdict))


def _accept(values: Callable[[str], Sequence[str]]) -> str:
    return ",".join(values("Accept"))


def _stated(facts: Facts) -> dict[str, str | None]:
    """Return the facts of a request for the log, with C{None} for facts that cannot be used."""
    found: dict[str, str | None] = {}
    for name in ("method", "host", "path", "address", "namespace"):
        try:
            found[name] = getattr(facts, name)
        except UnusableFact:
            found[name] = None
    return found
