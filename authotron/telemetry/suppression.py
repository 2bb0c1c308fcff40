"""Suppress repeated log events: log one of a kind in half a minute, and count the others."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

_WINDOW = 30.0
"""Number of seconds in which only the first event of a kind is logged, as in auth-o-tron."""


@define(eq=False)
class Suppression:
    """
    Decides which of the log events that clients cause are written.

    The number of kinds of events must be small, as each kind is remembered.
    """

    _clock: IReactorTime
    _seen: dict[str, tuple[float, int]] = field(factory=dict, init=False)

    def count(self, kind: str) -> int | None:
        """
        Return how many events of this kind were suppressed before this event, or C{None} if this
        event must be suppressed.
        """
        now = self._clock.seconds()
        since, suppressed = self._seen.get(kind, (now - _WINDOW, 0))
        if now - since < _WINDOW:
            self._seen[kind] = (since, suppressed + 1)
            return None
        self._seen[kind] = (now, 0)
        return suppressed
