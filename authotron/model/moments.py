"""Parse the moments in requests and on command lines: a date and time, C{now}, or C{+24h}."""

from __future__ import annotations

import re
from datetime import datetime

_RELATIVE = re.compile(r"([+-])([0-9]{1,9})(s|m|h|d)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

LATEST = 253_402_300_799.0
"""The latest moment that is accepted, in seconds since the epoch: the end of the year 9999."""

_FORMS = "write 2026-01-31T00:00:00Z, now, +24h or -5m, or seconds since the epoch"


def parse_moment(given: object, now: float) -> float:
    """
    Return a moment in seconds since the epoch.

    @param given: a date and time with a time zone (RFC 3339), C{now}, a duration with a sign in
        seconds, minutes, hours or days, such as C{+24h}, or a number of seconds since the epoch.

    @raise ValueError: the value is none of these, or is not between 1970 and 9999.
    """
    found = _seconds(given, now)
    if not 0 <= found <= LATEST:
        raise ValueError("is not between the years 1970 and 9999")
    return found


def _seconds(given: object, now: float) -> float:
    if type(given) in (int, float):
        return float(given)  # type: ignore[arg-type] # it is a number
    if not isinstance(given, str):
        raise ValueError(f"is not a moment; {_FORMS}")  # noqa: TRY004 - as for other odd values
    if given == "now":
        return now
    if relative := _RELATIVE.fullmatch(given):
        sign, number, unit = relative.groups()
        return now + float(f"{sign}{number}") * _UNITS[unit]
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        raise ValueError(f"is not a moment; {_FORMS}") from None
    if found.tzinfo is None:
        raise ValueError("has no time zone; write 2026-01-31T00:00:00Z")
    return found.timestamp()
