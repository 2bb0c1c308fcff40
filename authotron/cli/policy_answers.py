"""
Apply policies to a request that a file describes; this module is used by the commands C{authotron
policy test} and C{authotron policy diff}.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from authotron.cli.policy_request import canonical_path
from authotron.config.policy_test_file import LoginOfTest, RequestOfTest
from authotron.policy.policies import Policies
from authotron.policy.rules import Request


@frozen
class Answer:
    """
    The ruling of policies about a request: whether they allow the request, the reason, and the rule
    that decided.
    """

    allows: bool
    reason: str
    rule: str = ""

    def as_json(self) -> dict[str, str]:
        decision = "allow" if self.allows else "deny"
        return {"decision": decision, "reason": self.reason, "rule": self.rule}


def answer_to(
    policies: Policies,
    claims: Iterable[str],
    asked: RequestOfTest,
    login: LoginOfTest | None,
    namespace: str,
    now: float,
) -> Answer:
    """
    Apply policies to a request that a file describes.

    @param login: the login of the client, or C{None} if it is not known.
    @param namespace: the namespace that is used if the request does not state one.
    @param now: the time, in seconds since the epoch, that is used if the request does not state a
        time.
    """
    try:
        path = canonical_path(asked.path)
    except ValueError as ambiguous:
        return Answer(allows=False, reason=f"ambiguous path ({ambiguous})")
    where = (asked.namespace or namespace, asked.host, asked.address)
    moment = now if asked.at is None else asked.at
    known = None if login is None else login.as_login(moment)
    access = policies.access(claims, login=known)
    ruling = access.rule(Request(path, asked.method, None, *where), moment)
    return Answer(ruling.allows, ruling.reason.value, ruling.rule.name if ruling.rule else "")
