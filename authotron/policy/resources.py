"""
The resources of requests, and the patterns of resources that permissions name.

A resource is usually a canonical path (L{authotron.model.paths}). A pattern of resources is divided
at slashes: the segment C{*} stands for one segment that is not empty, C{**} for any number of
segments, even none; every other segment stands for itself. The pattern C{*} matches every resource.
A slash at the end of a path is ignored, unless the pattern ends with a slash.
"""

from __future__ import annotations

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


ENCODED_SEMICOLON = "an encoded semicolon, behind which some backends see parameters"
"""The reason why policies cannot be applied to a path."""


def has_parameters(path: str) -> bool:
    """
    Return whether a backend could take the end of a canonical path for parameters (RFC 3986 section
    3.3): proxies decode C{%3B}, and some backends ignore the part after a semicolon.
    """
    return "%3B" in path
