"""
Finds permissions in rules that have no effect, because other rules make them superfluous or always
deny them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

from attrs import frozen

from authotron.policy.containment import contains
from authotron.policy.permissions import Permission
from authotron.policy.resources import may_overlap
from authotron.policy.rules import Rule
from authotron.policy.subjects import Subject

MOST_RULES = 2_000
"""Maximum number of rules that are compared with each other."""


class Oddity(Enum):
    """The reasons why a permission has no effect."""

    SHADOWED = "allows nothing that rule {other!r} does not allow"
    DENIED = "never allows anything, because rule {other!r} denies it"


@frozen
class Finding:
    """A permission that has no effect, and the rule that is the reason for it."""

    rule: Rule
    permission: Permission
    oddity: Oddity
    other: Rule

    def __str__(self) -> str:
        why = self.oddity.value.format(other=self.other.name)
        return f"permission {str(self.permission)!r} of rule {self.rule.name!r} {why}"


def without_effect(rules: Sequence[Rule]) -> Iterator[Finding]:
    """
    Yield the permissions that allow something but have no effect.

    Only rules without limits in time, host and the like count as a reason, so a permission that
    could have an effect at another time is not reported.
    """
    usable = [each for each in rules if not each.disabled][:MOST_RULES]
    always = [each for each in usable if not each.is_conditional]
    for rule in usable:
        above = [each for each in always if _is_wider(each, rule)]
        for permission in rule.permissions:
            if not permission.denies:
                yield from _findings(rule, permission, above)


def _findings(rule: Rule, permission: Permission, above: Sequence[Rule]) -> Iterator[Finding]:
    """Yield the most important reason why a permission has no effect, if it has none."""
    found = [
        Finding(rule, permission, oddity, other)
        for oddity, denies in ((Oddity.DENIED, True), (Oddity.SHADOWED, False))
        for other in above
        if (denies or _counts_before(other, rule)) and _covers(other, permission, denies=denies)
    ]
    yield from found[:1]


def _counts_before(other: Rule, rule: Rule) -> bool:
    """
    Return whether a rule may make another one superfluous; of two equal rules only the first one
    may.
    """
    return other is not rule and (other.number < rule.number or not _is_wider(rule, other))


def _covers(other: Rule, permission: Permission, *, denies: bool) -> bool:
    held = [
        _allowing(each)
        for each in other.permissions
        if each.denies == denies and may_overlap(each.resource, permission.resource)
    ]
    return bool(held) and contains(held, [permission])


def _allowing(permission: Permission) -> Permission:
    """Return a permission that allows what another permission denies."""
    return Permission(permission.resource, permission.verbs, permission.ids)


def _is_wider(other: Rule, rule: Rule) -> bool:
    """
    Return whether a rule counts for every identity and namespace for which another
    rule counts.
    """
    where = rule.targets or (rule.namespace,)
    return all(map(other.counts_in, where)) and _implies(rule.subject, other.subject)


def _implies(narrower: Subject, wider: Subject) -> bool:
    """
    Return whether every identity to which one subject applies is one to which another subject
    applies.
    """
    return all(any(other <= tags for other in wider) for tags in narrower)


def who_can(
    rules: Sequence[Rule], verb: str, resource: str, namespace: str
) -> Iterator[tuple[Rule, Permission]]:
    """
    Yield the permissions that apply to a request, with their rules; permissions that deny come
    first.
    """
    asked = [Permission(resource, frozenset({verb}))]
    found = [
        (rule, permission)
        for rule in rules
        if not rule.disabled and rule.counts_in(namespace)
        for permission in rule.permissions
        if contains([_allowing(permission)], asked)
    ]
    yield from sorted(found, key=lambda pair: not pair[1].denies)
