"""
List the subjects, resources and actions that rules name; they are the candidates of an AuthZEN
search.

A search finds only users, objects or actions that a rule names; the gateway knows no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from authotron.policy.rules import Group, Rule
from authotron.policy.subjects import Tags

_OF_ASKERS = ("@resource:", "@action:", "@group:")
"""The prefixes of claims that do not identify a subject."""

_NAMES = ("username=", "@subject:")
"""
The prefixes of claims that name a subject; an identity has only one such claim, for its
own name.
"""


class NamedSubject(NamedTuple):
    """
    A candidate of a search for subjects, which a rule or group names.

    @ivar tags: the further claims that the rule or group requires of the subject.
    """

    id: str
    tags: tuple[str, ...]


def named_subjects(
    rules: Iterable[Rule], groups: Iterable[Group], prefix: str, needed: str = ""
) -> Iterator[list[NamedSubject]]:
    """
    Yield for each rule and each group the subjects that it names.

    @param prefix: the beginning of the claim that states the id of a subject, such as C{username=}.
    @param needed: a claim that the rule must require in addition, or an empty string.
    """
    for each in chain[Rule | Group](rules, groups):
        tags = () if each.disabled else each.subject
        yield [named for some in tags for named in _named(some, prefix, needed)]


def _named(tags: Tags, prefix: str, needed: str) -> Iterator[NamedSubject]:
    ids = [each for each in tags if each.startswith(prefix)]
    if len(ids) != 1 or (needed and needed not in tags):
        return
    others = tags - {ids[0], needed}
    if any(each.startswith(_NAMES) for each in others):
        return
    yield NamedSubject(
        ids[0].removeprefix(prefix),
        tuple(sorted(each for each in others if not each.startswith(_OF_ASKERS))),
    )
