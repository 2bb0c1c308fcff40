"""Apply policies to a request that a file describes, for commands."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from authotron.cli.policy_request import canonical_path
from authotron.config.policy_test_file import LoginOfTest, RequestOfTest
from authotron.policy.policies import Policies
from authotron.policy.rules import Request


@frozen
class Answer:
    """What policies say about a request: whether they allow it, why, and by which rule."""

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
    Apply policies to a request.

    @param login: the login of the client, or C{None} if it is not known.
    @param namespace: the namespace of the request, if the request has none.
    @param now: the time of the request, if the request has none.
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
