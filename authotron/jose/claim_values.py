"""Read claims that identity providers write in several shapes: paths, scopes and strings."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from authotron.jose.purposes import Claims
from authotron.model.errors import Rejected

Route = tuple[str, ...]
"""
The names of the nested JSON members that lead from the claims of a JWT to one value, the outermost
first.
"""

SCOPE_CLAIMS = ("scope", "scp", "scopes")
"""
Claims with scopes: RFC 8693 names C{scope}, while Okta, Microsoft Entra and others use C{scp}.
"""

_CONTROL = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])

_STRINGS = frozenset({str})

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""
A JSON encoder that is made only once; C{json.dumps} would create a new JSON
encoder for each value.
"""

_LONG_NUMBER = re.compile(r"[0-9]e-0|[0-9]{19}")
"""
Matches those parts of a JSON text that contain a number that auth-o-tron writes in another way than
Python.
"""

_INTEGERS = range(-(2**63), 2**64)
"""
Whole numbers that auth-o-tron reads as integers; auth-o-tron reads all other numbers as
floating-point numbers.
"""

_USUAL_SECONDS = 2**53
"""Timestamps that are whole numbers below this one need no further check."""

_MAX_SHOWN = 100
"""Maximum number of characters of a claim's value that a message repeats."""

_LAST_IN_FULL = 5
"""
The number of decimal places of the smallest power of ten that auth-o-tron writes without an
exponent.
"""

_MAX_NAMES = 20
"""Maximum number of names of claims that a message lists."""


def route(claims: Claims, path: str) -> Route | None:
    """
    Return the names of the members that a dotted path passes, from the outermost to the innermost,
    or C{None} if no value is at the end of the path.

    The name of a JSON member may itself contain dots, so a path can be split in several ways. At
    each step the longest name that leads to a value is used, so C{resource_access.my.app.roles}
    finds the roles of the client C{my.app}.
    """
    if path in claims:
        return (path,)
    return _route(claims, path.split(".")) if "." in path else None


def _route(found: object, steps: Sequence[str]) -> Route | None:
    if not steps:
        return ()
    if isinstance(found, Mapping):
        for count in range(len(steps), 0, -1):
            name = ".".join(steps[:count])
            if name in found and (rest := _route(found[name], steps[count:])) is not None:
                return (name, *rest)
    return None


def at_route(claims: Claims, steps: Route) -> Any:
    """Return the value in the claims that is reached through the members named by a L{route}."""
    found: Any = claims
    for step in steps:
        found = found[step]
    return found


def value_at(claims: Claims, path: str) -> Any:
    """Return the value at the end of a dotted path (see L{route}), or C{None}."""
    steps = route(claims, path)
    return None if steps is None else at_route(claims, steps)


def without(value: object, routes: Sequence[Route]) -> object:
    """
    Return a JSON value without the members to which C{routes} lead, or C{None} if nothing is left;
    the value itself is not changed.
    """
    if () in routes:
        return None
    if not isinstance(value, dict) or not routes:
        return value
    left = {}
    for name, inner in value.items():
        inner_routes = [each[1:] for each in routes if each[0] == name]
        kept = without(inner, inner_routes) if inner_routes else inner
        if not inner_routes or kept is not None:
            left[name] = kept
    return left or None


def words(value: object) -> tuple[str, ...]:
    """Return the words of a string, or of the strings in a list; nothing for another value."""
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list):
        return tuple(word for each in value if isinstance(each, str) for word in each.split())
    return ()


def scopes(claims: Claims) -> tuple[str, ...]:
    """
    Return the scopes of all scope claims.

    The value of a scope claim is a string of scopes that are separated by blanks, or a list of such
    strings. A scope claim that is neither a string nor a list contributes no scopes. A scope that
    several claims contain is returned once.
    """
    found = words(claims.get(SCOPE_CLAIMS[0]))
    for name in SCOPE_CLAIMS[1:]:
        if name in claims:
            found += tuple(each for each in words(claims[name]) if each not in found)
    return found


def strings(value: object) -> tuple[str, ...] | None:
    """Return a string, or the strings of a list, as a tuple, or C{None} for another value."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and _STRINGS.issuperset(map(type, value)):
        return tuple(value)
    return None


def timestamp(claims: Claims, name: str) -> float | None:
    """
    Return the time in a claim, in seconds since the epoch, or C{None} without that claim.

    @raise Rejected: the claim is not a finite number, or negative.
    """
    value = claims.get(name)
    if value is None:
        return None
    if type(value) is int and 0 <= value < _USUAL_SECONDS:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Rejected(f"{name} is not a number but {shown(value)}")
    try:
        seconds = float(value)
    except OverflowError:
        raise Rejected(f"{name} is not a timestamp") from None
    if not (math.isfinite(seconds) and seconds >= 0):
        raise Rejected(f"{name} is not a timestamp but {shown(value)}")
    return seconds


def as_text(value: object) -> str:
    """Return a string as it is, and any other claim as JSON, without control characters."""
    if not isinstance(value, str):
        encoded = _encode(value)
        value = _as_json(value) if _LONG_NUMBER.search(encoded) else encoded
    return value.translate(_CONTROL)


def _as_json(value: object) -> str:
    """Return a value as JSON, with all numbers as auth-o-tron writes them."""
    if isinstance(value, Mapping):
        members = (f"{_encode(name)}:{_as_json(each)}" for name, each in value.items())
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_as_json, value))}]"
    if isinstance(value, int) and value not in _INTEGERS:
        with suppress(OverflowError):
            value = float(value)
    return _float_as_json(value) if isinstance(value, float) else _encode(value)


def _float_as_json(value: float) -> str:
    mantissa, sign, exponent = repr(value).partition("e-")
    if not sign:
        return mantissa
    small = int(exponent)
    return f"{Decimal(repr(value)):f}" if small == _LAST_IN_FULL else f"{mantissa}e-{small}"


def shown(value: object) -> str:
    """Return a value as a message shows it: the beginning of its JSON, in ASCII on one line."""
    text = json.dumps(value, default=str)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def other_issuer(said: object, wanted: str) -> str:
    """Describe an issuer that is not the configured one, and say if only a slash differs."""
    if said is None:
        return f"iss is missing, wanted {shown(wanted)}"
    differs = isinstance(said, str) and said.rstrip("/") == wanted.rstrip("/")
    hint = "; only the slash at the end of the issuer differs" if differs else ""
    return f"has {shown(said)}, wanted {shown(wanted)}{hint}"


def names(claims: Claims) -> str:
    """List the names of the claims of a JWT for a message."""
    listed = sorted(claims)
    more = f" and {len(listed) - _MAX_NAMES} more" if len(listed) > _MAX_NAMES else ""
    return ", ".join(ascii(each[:_MAX_SHOWN])[1:-1] for each in listed[:_MAX_NAMES]) + more
