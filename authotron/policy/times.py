"""Times of day at which a rule counts, in the time of a zone."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo

from attrs import frozen

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The days of the week, in the order in which C{datetime.weekday} counts them."""

WHOLE_DAY = 86_400
"""Number of seconds of a day, which is also the end of the day C{24:00}."""

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")


def parse_clock(text: str) -> int:
    """
    Convert a time such as C{06:00} to seconds since midnight.

    @raise ValueError: the string is not a time of day.
    """
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError("the value is not a time of day; write hours and minutes, such as '06:00'")
    return WHOLE_DAY if found[1] is None else int(found[1]) * 3600 + int(found[2]) * 60


@frozen
class Times:
    """
    A time span of the day on some days of the week.

    A span whose end is before its start continues over midnight, and belongs to the day of its
    start.

    @ivar start: the first second of the span, counted from midnight.
    @ivar end: the first second after the end of the span.
    @ivar days: the numbers of the days on which a span starts, where Monday is 0.
    """

    start: int = 0
    end: int = WHOLE_DAY
    days: frozenset[int] = frozenset(range(7))
    zone: tzinfo | None = None

    def holds(self, now: float) -> bool:
        """Return whether a moment, in seconds since the epoch, lies in a time span."""
        local = datetime.fromtimestamp(now, self.zone)
        second = local.hour * 3600 + local.minute * 60 + local.second
        day = local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= second < self.end
        if second >= self.start:
            return day in self.days
        return second < self.end and (day - 1) % 7 in self.days
