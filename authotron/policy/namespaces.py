"""
Namespaces: a namespace is C{/}, or names behind slashes such as C{/data/archive}; each name lies
below the names before it.
"""

from __future__ import annotations

ROOT = "/"
"""The root namespace, which contains all others."""


def check(text: str) -> str:
    """
    Check a namespace, and return it.

    @raise ValueError: the string is not a namespace.
    """
    if is_namespace(text):
        return text
    better = ROOT + "/".join(part for part in text.strip().split("/") if part not in ("", "."))
    raise ValueError(f"the value is not a namespace; write {better} (or / for the root)")


def is_namespace(text: str) -> bool:
    """
    Return whether a string is a valid namespace: it must be C{/}, or segments that each follow a
    slash, none of them empty.
    """
    if text == ROOT:
        return True
    if not text.startswith("/"):
        return False
    return all(part and part == part.strip() for part in text[1:].split("/"))


def is_within(inner: str, outer: str) -> bool:
    """
    Return whether a namespace equals another one, or lies below it; whole segments
    are compared.
    """
    return outer in (inner, ROOT) or inner.startswith(outer + "/")
