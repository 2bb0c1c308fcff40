"""
Subjects of rules and groups: they say to which identities a rule or group applies, as an OR of ANDs
of tags.

A tag is a claim that an identity must have, such as C{role=reader}; it is compared letter by
letter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeAlias

from authotron.model.naming import normalize

LONGEST = 1024
"""Number of bytes that is too much for a tag: a tag must have fewer."""

GROUP = "@group:name="
"""The prefix of the tag that an identity has for each group to which it belongs."""

Tags: TypeAlias = frozenset[str]
"""A set of tags, all of which an identity must have."""

Subject: TypeAlias = tuple[Tags, ...]
"""
The subject of a rule or group: sets of tags, of which an identity must have all tags of at least
one set.
"""


def check_tag(text: str) -> str:
    """
    Check that a string is a tag (a claim or a group), and return the tag in Unicode normal form.

    @raise ValueError: the string is not a tag.
    """
    if problem := _problem(text):
        raise ValueError(f"the tag {problem}; tags look like role=reader")
    return in_normal_form(text)


def in_normal_form(claim: str) -> str:
    """
    Return a claim or a tag in Unicode Normalization Form C, in which tags of rules are compared
    with claims. Key and value are normalized separately, so that the C{=} between them stays
    unchanged.
    """
    if claim.isascii():
        return claim
    key, equals, value = claim.partition("=")
    return f"{normalize(key)}{equals}{normalize(value)}"


def is_tag(text: str) -> bool:
    """Return whether a string is a valid tag."""
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
    """Return whether a subject applies to an identity with the given claims."""
    held = claims if isinstance(claims, (set, frozenset)) else frozenset(claims)
    return any(tags <= held for tags in subject)
