"""
Suppress repeated log events: of similar events only the first in 30 seconds is logged, and the
others are counted.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

_WINDOW = 30.0
"""
Length in seconds of the period in which only the first of several similar log events is written, as
in auth-o-tron.
"""


@define(eq=False)
class Suppression:
    """
    Decides which of the log events that clients cause are written.

    The number of kinds of events must be small, because each kind is remembered.
    """

    _clock: IReactorTime
    _seen: dict[str, tuple[float, int]] = field(factory=dict, init=False)

    def count(self, kind: str) -> int | None:
        """
        Return how many similar events were suppressed before this event, or C{None} if this event
        must be suppressed as well.
        """
        now = self._clock.seconds()
        since, suppressed = self._seen.get(kind, (now - _WINDOW, 0))
        if now - since < _WINDOW:
            self._seen[kind] = (since, suppressed + 1)
            return None
        self._seen[kind] = (now, 0)
        return suppressed
