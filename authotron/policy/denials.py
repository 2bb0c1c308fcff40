"""Find the claims on which denials of a policy depend, so that no client can hide such a claim."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from attrs import frozen

from authotron.policy.policies import Policies
from authotron.policy.rules import Rule
from authotron.policy.subjects import GROUP, Subject

_NAMED = re.compile(r"""claims\s*(?:\.\s*(\w+)\b(?!\s*\()|\[\s*(['"])(.*?)\2\s*\])""")
"""A claim that an expression names, as in C{claims.email} or C{claims["email"]}."""

_TESTED = re.compile(r"""(['"])([^'"]*)\1\s+in\s+claims\b(?!\s*[.\[])""")
"""A claim whose presence an expression tests, as in C{"email" in claims}."""

_CLAIMS = re.compile(r"\bclaims\b")


@frozen
class NamedClaims:
    """
    The keys of the claims that rules or expressions name.

    @ivar are_all: whether an expression may read every claim.
    """

    keys: frozenset[str] = frozenset()
    are_all: bool = False

    def __contains__(self, key: object) -> bool:
        return self.are_all or key in self.keys

    def __or__(self, other: NamedClaims) -> NamedClaims:
        return NamedClaims(self.keys | other.keys, self.are_all or other.are_all)


NONE = NamedClaims()


def named_by_expression(text: str) -> NamedClaims:
    """
    Return the claims that an expression in CEL names; an expression that reads claims in another
    way than by a fixed key counts as one that names all claims.
    """
    keys = [found[1] or found[3] for found in _NAMED.finditer(text)]
    keys += [found[2] for found in _TESTED.finditer(text)]
    # A string in the expression may also look like a claim; the result then contains one claim too
    # many.
    return NamedClaims(frozenset(keys), len(_CLAIMS.findall(text)) > len(keys))


def named_by_denials(policies: Policies) -> NamedClaims:
    """
    Return the claims that decide whether a rule which denies something applies to an identity.

    The claims that decide about a rule are those in its subject and in its condition, and if the
    subject names a group, those in the subjects of all groups.
    """
    found = NONE
    for rule in policies.rules:
        if not rule.disabled and any(each.denies for each in rule.permissions):
            found |= _named_by_rule(rule)
    if any(key == _GROUP_KEY for key in found.keys):
        groups = frozenset(key for each in policies.groups for key in _keys(each.subject))
        found |= NamedClaims(groups)
    return found


_GROUP_KEY = GROUP.partition("=")[0]
"""The key of the tag that an identity has for each group of which it is a member."""


def _named_by_rule(rule: Rule) -> NamedClaims:
    found = NamedClaims(frozenset(_keys(rule.subject)))
    if rule.when is None:
        return found
    text = getattr(rule.when, "text", None)
    return found | (NamedClaims(are_all=True) if text is None else named_by_expression(text))


def _keys(subject: Subject | Iterable[frozenset[str]]) -> Iterator[str]:
    for tags in subject:
        for tag in tags:
            yield tag.partition("=")[0]
