"""Namespaces: C{/}, or names behind slashes such as C{/data/archive}, each below those before."""

from __future__ import annotations

ROOT = "/"
"""The namespace above all others."""


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
    Return whether a string is a namespace: C{/}, or segments each behind a slash, none of them
    empty.
    """
    if text == ROOT:
        return True
    if not text.startswith("/"):
        return False
    return all(part and part == part.strip() for part in text[1:].split("/"))


def is_within(inner: str, outer: str) -> bool:
    """Return whether a namespace is another one, or below it, by whole segments."""
    return outer in (inner, ROOT) or inner.startswith(outer + "/")
