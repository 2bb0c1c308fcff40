"""
The names of headers by which a backend may recognise the client, its origin or its request.

The proxy removes the listed headers from every request of a client. The file
C{identity-headers.txt} has one header name on each line; a line with C{#} is the title of the names
below it.
"""

from __future__ import annotations

from importlib import resources
from itertools import product

from attrs import frozen

ORIGIN = "where a request comes from"
"""The title of the headers in which services read an address or a host."""

TARGET = "what it asks for, otherwise than its first line"
"""The title of the headers in which services read another path or method."""


@frozen
class Group:
    """Names of headers that belong together, with a title that says what the headers are for."""

    title: str
    names: tuple[str, ...]


def groups() -> tuple[Group, ...]:
    """Return the names of the headers, in the order of the list."""
    text = (resources.files(__package__) / "identity-headers.txt").read_text(encoding="utf-8")
    sections = f"\n{text}".split("\n# ")[1:]
    return tuple(Group(title, tuple(names)) for title, *names in map(str.splitlines, sections))


def titled(title: str) -> tuple[str, ...]:
    """Return the names of the headers below a title of the list."""
    return next(group.names for group in groups() if group.title == title)


def of_users() -> tuple[str, ...]:
    """Return the names of the headers that say which user or client sends a request."""
    apart = {ORIGIN, TARGET}
    return tuple(name for group in groups() if group.title not in apart for name in group.names)


def underscored(name: str) -> list[str]:
    """
    Return the spellings of a header name that have an underscore in place of one or
    more hyphens.
    """
    first, *rest = name.split("-")
    spellings = (
        first + "".join(map("".join, zip(marks, rest, strict=True)))
        for marks in product("-_", repeat=len(rest))
    )
    return [each for each in spellings if "_" in each]
