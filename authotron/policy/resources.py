"""
Resources of requests, and the patterns of resources that permissions name.

A resource is usually a canonical path (L{authotron.model.paths}). A pattern is divided at slashes:
the segment C{*} stands for one segment that is not empty, C{**} for any number of segments, none
included; every other segment stands for itself. The pattern C{*} stands for every resource. A slash
at the end of a path does not matter, unless the pattern ends with one.
"""

from __future__ import annotations

from typing import NamedTuple

ANY = "*"
"""The pattern of every resource; also the segment that stands for one segment."""

DEEP = "**"
"""The segment that stands for any number of segments."""


class Resource(NamedTuple):
    """
    A resource or a pattern, without the slash at its end.

    @ivar ends_in_slash: whether a path ended with a slash, which C{text} lacks.
    """

    text: str
    ends_in_slash: bool

    @property
    def segments(self) -> list[str]:
        """The segments, of which the first one of a path is empty."""
        return self.text.split("/")


def split(text: str) -> Resource:
    """Split a resource or a pattern into its text and the slash at the end of a path."""
    if text.startswith("/") and text.endswith("/"):
        return Resource(text[:-1], ends_in_slash=True)
    return Resource(text, ends_in_slash=False)


def is_literal(pattern: str) -> bool:
    """Return whether a pattern stands for one resource alone."""
    return ANY not in pattern or (ANY not in (parts := pattern.split("/")) and DEEP not in parts)
