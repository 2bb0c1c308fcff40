"""
Applies the policies to the authentication requests of proxies: counts and logs the rulings, and
makes the reply if the policies do not allow a request.

The module is imported only if policies are configured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from authotron.gateway.outcomes import Decision
from authotron.gateway.policy import Asked, PolicyAccess
from authotron.model.errors import UnusableFact
from authotron.model.request import Facts
from authotron.policy.reasons import Reason
from authotron.policy.ruling import UNUSABLE, Ruling
from authotron.telemetry import audit
from authotron.web import policy_replies, replies
from authotron.web.replies import Reply

ALLOW, DENY, OBSERVED, UNDECIDED = "allow", "deny", "observed", "undecided"
"""The label C{result} of the metric C{policy_rulings_total}."""

_ALLOWING = (Reason.ALLOWED, Reason.DEFAULT)

RULINGS = (
    *((ALLOW, reason.value) for reason in _ALLOWING),
    *((DENY, reason.value) for reason in Reason if reason not in (*_ALLOWING, Reason.UNUSABLE)),
    (UNDECIDED, Reason.UNUSABLE.value),
)
"""The results and reasons that are counted if policies are enforced."""

OBSERVED_RULINGS = (
    *((ALLOW, reason.value) for reason in _ALLOWING),
    *((OBSERVED, reason.value) for reason in Reason if reason not in _ALLOWING),
)
"""The results and reasons that are counted if policies are only observed."""

_BY_RULE = Reason.ALLOWED.value

_ALLOWED = None, ""


@define(eq=False)
class PolicyAnswerer:
    """
    Applies the policies to the authentication requests of proxies.

    @ivar _note: a function that counts and logs a fact of a request that cannot be used, with the
        name of the contract.
    """

    _note: Callable[[str, UnusableFact], None]

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
        try:
            ruling = access.rule(asked)
        except UnusableFact as unusable:
            return self._unusable(contract, decision, access, asked.facts(), unusable)
        enforcement = access.enforcement
        if ruling.allows:
            enforcement.observer.policy_ruled(ALLOW, ruling.reason.value)
            return _ALLOWED
        observes = enforcement.observes
        enforcement.observer.policy_ruled(OBSERVED if observes else DENY, ruling.reason.value)
        self._log(decision, ruling, asked.facts(), observes=observes)
        if observes:
            return _ALLOWED
        return policy_replies.refused(ruling, _accept(values)), ruling.text

    @staticmethod
    def is_settled(access: PolicyAccess, facts: Facts) -> bool:
        """Return whether a rule allows equal requests at any time."""
        try:
            asked = access.asked(facts)
            return access.is_settled(asked) and access.rule(asked).reason is Reason.ALLOWED
        except UnusableFact:
            return False

    @staticmethod
    def allowed_again(access: PolicyAccess) -> None:
        """Count a request that a rule allows because the rule has allowed an equal one."""
        access.enforcement.observer.policy_ruled(ALLOW, _BY_RULE)

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
