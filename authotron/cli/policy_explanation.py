"""
Print the explanation of a ruling: the rules that apply to a request, and the rules that would apply
if the request met one more condition.
"""

from __future__ import annotations

from collections.abc import Iterator

from authotron.cli.output import say
from authotron.policy.explanation import Explanation, Match, NearMiss
from authotron.policy.near_misses import NO_VALUE, Failed, Unmet


def print_explanation(found: Explanation) -> None:
    """Print why the policies allow or deny a request."""
    asked, ruling = found.request, found.ruling
    result = "allowed" if ruling.allows else "denied"
    say("policy", bold=True)
    say(
        f"  {asked.verb} {asked.resource}: {result} ({ruling.reason.value}), {ruling.text}",
        fg="green" if ruling.allows else "red",
    )
    for line in _lines(found):
        say(f"  {line}")


def _lines(found: Explanation) -> Iterator[str]:
    if found.groups:
        yield f"groups: {', '.join(found.groups)}"
    if found.hidden:
        yield f"the credential hides {', '.join(found.hidden)}"
    yield from map(_match, found.matches)
    yield from map(_near_miss, found.near_misses)
    if not found.is_complete:
        yield "not all rules were searched"


def _match(each: Match) -> str:
    effect = "denies" if each.permission.denies else "allows"
    because = " and ".join(sorted(each.tags))
    return f"rule {each.rule.name} {effect} it by {each.permission}, because of {because}"


def _near_miss(each: NearMiss) -> str:
    effect = "deny" if each.permission.denies else "allow"
    return f"rule {each.rule.name} would {effect} it by {each.permission}, but {_why(each.unmet)}"


def _why(unmet: Unmet) -> str:
    """
    Return the end of a message about a rule, which states the condition of the rule that a request
    does not meet.
    """
    needed = ", ".join(unmet.needed)
    if unmet.failed is Failed.SUBJECT:
        return f"the identity lacks {' and '.join(unmet.needed)}"
    if unmet.failed is Failed.WHEN:
        verb = "has" if unmet.found == NO_VALUE else "is"
        return f"its condition {verb} {unmet.found}: {needed}"
    return _TEXTS[unmet.failed].format(needed=needed, found=unmet.found or "not known")


_TEXTS = {
    Failed.RESOURCE: "the permission is about {needed}",
    Failed.VERB: "the permission is about {needed}",
    Failed.ID: "the permission is about the ids {needed}",
    Failed.METHODS: "the rule is limited to the methods {needed}",
    Failed.HOSTS: "the rule is limited to the hosts {needed} (host: {found})",
    Failed.NETWORKS: "the rule is limited to the networks {needed} (address: {found})",
    Failed.TIMES: "the rule applies only at other times: {needed} (now: {found})",
    Failed.NOT_BEFORE: "the rule applies from {needed} on (now: {found})",
    Failed.EXPIRES: "the rule expired at {needed} (now: {found})",
    Failed.REQUIRE: "the rule requires another login: {needed} (login: {found})",
    Failed.NAMESPACE: "the rule applies in the namespace {needed} and below (namespace: {found})",
    Failed.DISABLED: "the rule is disabled",
}
"""
For each kind of condition of a rule, the format of the message that a request does not meet the
condition.
"""
