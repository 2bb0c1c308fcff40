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
