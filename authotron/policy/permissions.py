"""
Permissions: the strings C{[-]resource:verb[,verb...][:id[,id...]]} of rules.

A permission that begins with C{-} denies what it names. The word C{*} as the resource means every
resource, and as a verb every verb; among ids it is just the id C{*}. All words of a permission are
compared letter by letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from attrs import frozen

from authotron.policy.resources import ANY

DENY = "-"
"""The character with which a permission begins that denies instead of allowing."""

_FORM = "permissions look like /path:GET, /path/**:GET,HEAD, -/path:* or resource:verb:id"


@frozen
class Permission:
    """
    One permission string of a rule: what it allows or denies.

    @ivar ids: the ids to which the permission is limited, or C{None}: a permission with ids counts
        only for requests with one of these ids, whether it allows or denies.
    """

    resource: str
    verbs: frozenset[str]
    ids: frozenset[str] | None = None
    denies: bool = False

    @property
    def has_any_verb(self) -> bool:
        """Whether the permission is about every verb."""
        return ANY in self.verbs

    def counts_for(self, id_: str | None) -> bool:
        """
        Return whether the permission counts for a request with a given id, or for one without an
        id.
        """
        return self.ids is None or (bool(id_) and id_ in self.ids)

    def __str__(self) -> str:
        parts = [self.resource, ",".join(sorted(self.verbs))]
        parts += [] if self.ids is None else [",".join(sorted(self.ids))]
        return (DENY if self.denies else "") + ":".join(parts)


def parse(text: str) -> Permission:
    """
    Parse a permission.

    @raise ValueError: the string has no colon, or a word of it is empty or has blanks at its
        beginning or end.
    """
    denies = text.startswith(DENY)
    resource, colon, rest = text.removeprefix(DENY).partition(":")
    if not colon:
        raise ValueError(f"the permission has no colon; {_FORM}")
    if resource.startswith(DENY):
        raise ValueError("the permission begins with two `-`; write one to deny")
    verbs, colon, ids = rest.partition(":")
    _check(resource, "resource")
    return Permission(
        resource, _words(verbs, "verb"), _words(ids, "id") if colon else None, denies=denies
    )


@lru_cache(maxsize=1_000)  # most rules name the same few verbs, and share the sets in memory
def _words(text: str, what: str) -> frozenset[str]:
    words = text.split(",")
    for word in words:
        _check(word, what)
    return frozenset(words)


def _check(word: str, what: str) -> None:
    article = "an id" if what == "id" else f"a {what}"
    if not word:
        raise ValueError(f"{article} of the permission is empty; {_FORM}")
    if word != word.strip():
        raise ValueError(f"{article} of the permission has blanks at its beginning or end")


Effects = Mapping[str, Mapping[str, bool]]
"""For each resource the verbs that are allowed (C{True}) or denied (C{False})."""


def effects(permissions: Iterable[Permission], id_: str | None = None) -> Effects:
    """
    Return the combined effect of several permissions on requests with an id, or with none; a
    permission that denies wins.
    """
    found: dict[str, dict[str, bool]] = {}
    for each in permissions:
        if each.counts_for(id_):
            verbs = found.setdefault(each.resource, {})
            for verb in each.verbs:
                verbs[verb] = verbs.get(verb, True) and not each.denies
    return found
