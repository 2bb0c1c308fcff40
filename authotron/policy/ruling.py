"""The result of applying policies to a request, with its reason."""

from __future__ import annotations

from attrs import frozen

from authotron.policy.reasons import Reason
from authotron.policy.requirements import Requirement
from authotron.policy.rules import Rule


@frozen
class Ruling:
    """
    The decision of policies about a request, with its reason.

    @ivar rule: the rule that decided, or C{None} if no rule did.
    """

    allows: bool
    reason: Reason
    rule: Rule | None = None

    @property
    def required(self) -> Requirement | None:
        """The login that a client needs so that a rule allows the request."""
        return self.rule.require if self.rule and self.reason is Reason.LOGIN else None

    @property
    def text(self) -> str:
        """The reason for logs, with the name of the rule that decided."""
        named = f" (rule {self.rule.name})" if self.rule else ""
        return f"{_TEXTS[self.reason]}{named}"


_TEXTS = {
    Reason.ALLOWED: "a rule of the policy allows the request",
    Reason.DEFAULT: "the default of the policy allows the request",
    Reason.DENIED: "a rule of the policy denies the request",
    Reason.NO_RULE: "no rule of the policy allows the request",
    Reason.NETWORK: "the policy allows the request from other networks alone",
    Reason.TIME: "the policy allows the request at other times alone",
    Reason.CONDITION: "a rule of the policy allows the request under a condition, which is not met",
    Reason.LOGIN: "a rule of the policy allows the request after a stronger or more recent login",
    Reason.NAMESPACE: "the namespace of the request is malformed",
    Reason.RESTRICTED: "a restriction of the credential does not allow the request",
    Reason.AUTHORIZER: "the authorizer denies the request",
    Reason.NO_VERDICT: "the authorizer is unavailable, so the request is not allowed",
    Reason.UNUSABLE: "the proxy does not state the request clearly",
}

BY_DEFAULT = Ruling(allows=True, reason=Reason.DEFAULT)
BAD_NAMESPACE = Ruling(allows=False, reason=Reason.NAMESPACE)
RESTRICTED = Ruling(allows=False, reason=Reason.RESTRICTED)
UNUSABLE = Ruling(allows=False, reason=Reason.UNUSABLE)
BY_AUTHORIZER = Ruling(allows=False, reason=Reason.AUTHORIZER)
NO_VERDICT = Ruling(allows=False, reason=Reason.NO_VERDICT)


def login_required(rule: Rule) -> Ruling:
    """Return the ruling about a request that a rule would allow after another login."""
    return Ruling(allows=False, reason=Reason.LOGIN, rule=rule)


NOT_ALLOWED = {
    reason: Ruling(allows=False, reason=reason)
    for reason in (Reason.NO_RULE, Reason.NETWORK, Reason.TIME, Reason.CONDITION)
}
"""The rulings about requests that no rule allows, by the reasons of the rulings."""
