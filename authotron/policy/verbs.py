"""The verbs of requests, which are usually HTTP methods."""

from __future__ import annotations

METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
)
"""The methods that HTTP defines, and C{PATCH}."""


def is_misspelt(verb: str) -> bool:
    """
    Return whether a verb is a method of HTTP but for the case of its letters.

    Methods are case-sensitive (RFC 9110 section 9.1), and rules compare them letter by letter, but
    some backends (Django and Werkzeug, for example) take C{delete} for C{DELETE}.
    """
    return verb not in METHODS and verb.upper() in METHODS
