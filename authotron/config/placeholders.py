"""Recognize secrets that a tool should have filled in, such as C{${PASSWORD}}."""

from __future__ import annotations

import re

_UNFILLED = re.compile(r"\s*\$\{[A-Za-z_][^{}]*\}\s*")
"""Matches a text that is nothing but a variable of a shell or of Docker Compose."""

_PERHAPS_UNFILLED = re.compile(
    r".*\$\{[A-Za-z_][^{}]*\}.*"  # matches a shell variable within other text
    r"|\$[A-Z_][A-Z0-9_]*|\$\([^()]*\)"
    r"|.*\{\{.*\}\}.*|.*\{%.*%\}.*"  # matches placeholders of Jinja, Helm and Ansible
    r"|%\([^()]+\)s|%[A-Z_][A-Z0-9_]*%"
    r"|<[^<>]+>|@[A-Za-z_]+@|__[A-Za-z_]+__"
    r"|(?i:(change|replace|fill)[-_ ]?(me|this)([-_ ]?in)?)"
    r"|(?i:todo|fixme|placeholder|x{3,}|your[-_ ].+)",
    re.DOTALL,
)

_LONGEST_PLACEHOLDER = 4096
"""Maximum number of characters of a placeholder; a longer secret is not a placeholder."""


def is_unfilled(secret: str) -> bool:
    """
    Return whether a secret is nothing but a variable that a tool has not replaced by
    its value.
    """
    return len(secret) <= _LONGEST_PLACEHOLDER and _UNFILLED.fullmatch(secret) is not None


def is_perhaps_unfilled(secret: str) -> bool:
    """Return whether a secret looks like a placeholder that a tool should have filled in."""
    is_short = len(secret) <= _LONGEST_PLACEHOLDER
    return is_short and _PERHAPS_UNFILLED.fullmatch(secret) is not None
