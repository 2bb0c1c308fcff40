"""
Groups: which groups an identity belongs to, and whether groups refer to each other in
a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from authotron.policy.namespaces import is_within
from authotron.policy.rules import Group
from authotron.policy.subjects import GROUP, Subject


def named_in(subject: Subject) -> Iterator[str]:
    """Yield the names of the groups to which the subject of a rule or group refers."""
    for tags in subject:
        for tag in tags:
            if tag.startswith(GROUP):
                yield tag.removeprefix(GROUP)


def in_circles(groups: Sequence[Group]) -> list[Group]:
    """Return the groups that refer to themselves, directly or through other groups."""
    uses: dict[str, set[str]] = {}
    for each in groups:
        uses.setdefault(each.name, set()).update(named_in(each.subject))
    reached = {name: _reached(name, uses) for name in uses}
    return [each for each in groups if each.name in reached[each.name]]


def _reached(name: str, uses: dict[str, set[str]]) -> set[str]:
    """Return the groups to which a group refers, directly or through other groups."""
    found: set[str] = set()
    left = [*uses.get(name, ())]
    while left:
        each = left.pop()
        if each not in found:
            found.add(each)
            left += uses.get(each, ())
    return found


def innermost_first(groups: Iterable[Group]) -> list[Group]:
    """Sort groups without circles so that each group comes after the groups to which it refers."""
    left, found = [*groups], list[Group]()
    while left:
        names = {each.name for each in left}
        ready = [each for each in left if names.isdisjoint(named_in(each.subject))]
        if not ready:
            raise ValueError("groups refer to each other in a circle")
        found += ready
        left = [each for each in left if each not in ready]
    return found


def tags_of(
    groups: Iterable[Group], claims: Iterable[str], namespace: str, *, heaviest: bool = False
) -> frozenset[str]:
    """
    Return the tags of the groups to which an identity belongs, as they count for a request in a
    namespace.

    The subject of a group may name the tags of other groups that match, to any depth.

    @param groups: the groups that are not disabled, in the order of L{innermost_first}.
    @param heaviest: whether only the group with the greatest weight counts for rules; if several
        groups have the same weight, the first one counts.
    """
    held = set(claims)
    found: list[Group] = []
    for each in groups:
        if is_within(namespace, each.namespace) and any(tags <= held for tags in each.subject):
            held.add(GROUP + each.name)
            found.append(each)
    if heaviest and found:
        found = [max(found, key=lambda each: (each.weight, -each.number))]
    return frozenset(GROUP + each.name for each in found)
