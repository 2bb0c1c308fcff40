"""
The names of headers by which a backend may know the client, its origin or its request.

A proxy removes these headers from every request of a client. C{identity-headers.txt} has one name a
line; a line with C{#} is the title of the names below it.
"""

from __future__ import annotations

from importlib import resources
from itertools import product

from attrs import frozen


@frozen
class Group:
    """Names of headers that belong together, with a title that says what they are for."""

    title: str
    names: tuple[str, ...]


def groups() -> tuple[Group, ...]:
    """Return the names of the list, in its order."""
    text = (resources.files(__package__) / "identity-headers.txt").read_text(encoding="utf-8")
    sections = f"\n{text}".split("\n# ")[1:]
    return tuple(Group(title, tuple(names)) for title, *names in map(str.splitlines, sections))


def underscored(name: str) -> list[str]:
    """Return the spellings of a name with an underscore in place of one or more hyphens."""
    first, *rest = name.split("-")
    spellings = (
        first + "".join(map("".join, zip(marks, rest, strict=True)))
        for marks in product("-_", repeat=len(rest))
    )
    return [each for each in spellings if "_" in each]
