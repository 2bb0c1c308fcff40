"""
Rules about the keys of claims: which keys only the gateway sets, and which attributes of an
identity become claims.
"""

from __future__ import annotations

RESERVED = "@"
"""The prefix of the claim keys that only the gateway sets."""

OWN = frozenset({"realm", "username", "role", "scope"})
"""The keys of claims that are made of other parts of an identity than its attributes."""

NO_VALUES = frozenset({"", "[]"})
"""The values of an attribute that count as no value."""


def is_reserved(key: str) -> bool:
    """Return whether only the gateway may set claims with a given key."""
    return key.startswith(RESERVED)


def is_well_formed(key: str) -> bool:
    """Return whether a claim can have a given key: a key has no C{=} and no blank."""
    return "=" not in key and key.split() == [key]


def is_claimable(key: str, value: str) -> bool:
    """Return whether an attribute becomes a claim."""
    return not (
        key.startswith(RESERVED)
        or key in OWN
        or value in NO_VALUES
        or "=" in key
        or key.split() != [key]
    )


def why_not_claimable(key: str, value: str) -> str:
    """
    Return in one word why an attribute does not become a claim, or an empty string if the attribute
    becomes a claim.
    """
    if is_reserved(key):
        return "reserved"
    if key in OWN:
        return "own"
    if not is_well_formed(key):
        return "malformed"
    return "empty" if value in NO_VALUES else ""


REASONS = ("reserved", "own", "malformed", "empty")
"""Every reason for which an attribute does not become a claim."""
