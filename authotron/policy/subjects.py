"""
Subjects of rules and groups: which identities they are about, as an OR of ANDs of tags.

A tag is a claim that an identity must have, such as C{role=reader}, letter by letter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeAlias

LONGEST = 1024
"""A tag has fewer bytes than this."""

GROUP = "@group:name="
"""The beginning of the tag that an identity has for each group that it is in."""

Tags: TypeAlias = frozenset[str]
"""Tags all of which an identity must have."""

Subject: TypeAlias = tuple[Tags, ...]
"""Alternatives of tags, one of which an identity must have."""


def check_tag(text: str) -> str:
    """
    Check a tag, and return it.

    @raise ValueError: the string is not a tag.
    """
    if problem := _problem(text):
        raise ValueError(f"the tag {problem}; tags look like role=reader")
    return text


def is_tag(text: str) -> bool:
    """Return whether a string is a tag."""
    return not _problem(text)


def _problem(text: str) -> str:
    key, equals, value = text.partition("=")
    if not equals:
        return "has no `=`"
    if not key or not value:
        return f"has no {'value' if key else 'key'}"
    if text != text.strip():
        return "has blanks at its beginning or end"
    if any(char.isspace() for char in key):
        return "has a blank in its key"
    if len(text.encode("utf-8", "surrogatepass")) >= LONGEST:
        return f"has {LONGEST} bytes or more"
    return ""


def matches(subject: Iterable[Tags], claims: Collection[str]) -> bool:
    """Return whether an identity with some claims is meant by a subject."""
    held = claims if isinstance(claims, (set, frozenset)) else frozenset(claims)
    return any(tags <= held for tags in subject)
