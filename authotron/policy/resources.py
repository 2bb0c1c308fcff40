"""
The resources of requests, and the patterns of resources that permissions name.

A resource is usually a canonical path (L{authotron.model.paths}). A pattern of resources is divided
at slashes: the segment C{*} stands for one segment that is not empty, C{**} for any number of
segments, even none; every other segment stands for itself. The pattern C{*} matches every resource.
A slash at the end of a path is ignored, unless the pattern ends with a slash.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

ANY = "*"
"""The pattern C{*}, which matches every resource, and as a segment matches any one segment."""

DEEP = "**"
"""The segment C{**}, which stands for any number of segments."""


class Resource(NamedTuple):
    """
    A resource or a pattern of resources, without the slash at its end.

    @ivar ends_in_slash: whether a path ended with a slash, which is removed in C{text}.
    """

    text: str
    ends_in_slash: bool

    @property
    def segments(self) -> list[str]:
        """The segments of the resource; the first segment of a path is empty."""
        return self.text.split("/")


def split(text: str) -> Resource:
    """Split a resource or a pattern into its text and the slash at its end."""
    if text.startswith("/") and text.endswith("/"):
        return Resource(text[:-1], ends_in_slash=True)
    return Resource(text, ends_in_slash=False)


def is_literal(pattern: str) -> bool:
    """Return whether a pattern matches one resource only."""
    return ANY not in pattern or (ANY not in (parts := pattern.split("/")) and DEEP not in parts)


def covers(pattern: str, resource: str) -> bool:
    """
    Return whether a pattern matches a resource.

    L{authotron.policy.table} compares a resource with many patterns at once, and much faster.
    """
    if pattern == ANY:
        return True
    wanted, given = split(pattern), split(resource)
    if wanted.ends_in_slash and not given.ends_in_slash:
        return False
    if is_literal(pattern):
        return wanted.text == given.text
    return _match(wanted.segments, given.segments)


def _match(pattern: Sequence[str], segments: Sequence[str]) -> bool:
    """
    Compare the segments of a pattern with those of a resource. If two segments differ, the
    preceding C{**} of the pattern is extended by one segment.
    """
    at = place = resume = 0
    deep = -1
    while place < len(segments):
        wanted = pattern[at] if at < len(pattern) else None
        if wanted == DEEP:
            deep, resume = at, place
            at += 1
        elif wanted == segments[place] or (wanted == ANY and segments[place]):
            at, place = at + 1, place + 1
        elif deep >= 0:
            resume += 1
            at, place = deep + 1, resume
        else:
            return False
    return all(each == DEEP for each in pattern[at:])


def may_overlap(pattern: str, other: str) -> bool:
    """
    Return false if no resource matches both of two patterns, as their first and last segments show.

    The answer is quick, and may be true although no resource matches both patterns.
    """
    if ANY in (pattern, other):
        return True
    one, two = split(pattern).segments, split(other).segments
    return _may_begin_alike(one, two) and _may_begin_alike(one[::-1], two[::-1])


def _may_begin_alike(one: Sequence[str], two: Sequence[str]) -> bool:
    """Compare the segments of two patterns up to the first C{**}, which may stand for any."""
    for mine, theirs in zip_longest(one, two):
        if DEEP in (mine, theirs):
            return True
        if mine != theirs and not (ANY in (mine, theirs) and mine and theirs):
            return False
    return True


MOST_SEGMENTS = 1_000
"""Maximum number of slashes in a path, so that matching patterns takes a few milliseconds."""


def flaw(path: str) -> str:
    """
    Return why a canonical path cannot be ruled, or an empty string.

    Proxies decode C{%3B}, and some backends take what stands behind a semicolon for parameters (RFC
    3986 section 3.3), and leave it out.
    """
    if "%3B" in path:
        return "an encoded semicolon, behind which some backends see parameters"
    if len(path) > MOST_SEGMENTS and path.count("/") > MOST_SEGMENTS:
        return f"more than {MOST_SEGMENTS} segments"
    return ""
