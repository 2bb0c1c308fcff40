"""
Convert the limits of rules to the form in which a configuration states them, for JSON and for
messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from authotron.policy.expressions import Expression
from authotron.policy.requirements import Requirement
from authotron.policy.rules import Rule
from authotron.policy.times import DAYS, Times


def limits_of(rule: Rule) -> dict[str, Any]:
    """
    Return the limits of a rule by their keys in the configuration; a key is missing if the rule
    does not have the limit.
    """
    given = {key: (getattr(rule, key), state) for key, state in _LIMITS.items()}
    return {key: state(value) for key, (value, state) in given.items() if value not in (None, ())}


def moment(seconds: float) -> str:
    """Return a moment in seconds since the epoch as a date and time (RFC 3339)."""
    found = datetime.fromtimestamp(seconds, UTC)
    return found.isoformat().replace("+00:00", "Z")


def clock(second: int) -> str:
    """Convert a number of seconds since midnight to a time such as C{06:00}."""
    return f"{second // 3600:02}:{second % 3600 // 60:02}"


def _times(given: Times) -> dict[str, Any]:
    return {
        "from": clock(given.start),
        "to": clock(given.end),
        "days": [DAYS[each] for each in sorted(given.days)],
        "zone": str(given.zone or "UTC"),
    }


def _when(given: object) -> str:
    return given.text if isinstance(given, Expression) else "?"


def _require(given: Requirement) -> dict[str, Any]:
    found: dict[str, Any] = {"acr": [*given.acr]} if given.acr else {}
    return found if given.max_age is None else {**found, "max_age": given.max_age}


def _texts(given: tuple[object, ...]) -> list[str]:
    return [str(each) for each in given]


_LIMITS: Mapping[str, Callable[[Any], Any]] = {
    "hosts": _texts,
    "networks": _texts,
    "methods": sorted,
    "times": _times,
    "not_before": moment,
    "expires": moment,
    "when": _when,
    "require": _require,
}
"""
For each kind of limit of a rule, a function that converts the value of the limit to the form of the
configuration.
"""
