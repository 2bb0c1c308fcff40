"""Starts new workers in place of lost ones, with a growing delay."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_FIRST_DELAY, _LAST_DELAY = 0.1, 10.0
"""
Seconds until a lost worker is replaced: the delay after the first loss, and the longest delay.
"""

_MAX_DOUBLINGS = 10


@define(eq=False)
class Respawn:
    """
    Starts workers in the place of lost ones; the delay doubles with each loss in a row.

    @ivar _missing: how many lost workers have not been replaced yet.
    @ivar _spawn: a function that starts a worker process.
    """

    _clock: IReactorTime
    _missing: Callable[[], int]
    _spawn: Callable[[], object]
    _losses: int = field(default=0, init=False)
    _pending: list[IDelayedCall] = field(factory=list, init=False)
    _is_paused: bool = field(default=False, init=False)
    _log = Logger()

    def fill(self) -> None:
        """Schedule the start of all workers that are missing."""
        if self._is_paused:
            return
        for _ in range(self._missing() - len(self._pending)):
            delay = min(_FIRST_DELAY * 2.0 ** min(self._losses, _MAX_DOUBLINGS), _LAST_DELAY)
            self._losses += 1
            self._pending.append(self._clock.callLater(delay, self._start))

    def reset_delay(self) -> None:
        """Reset the delay before replacements, so that the next lost worker is replaced soon."""
        self._losses = 0

    def pause(self) -> None:
        """Start no worker until C{resume} is called."""
        self._is_paused = True
        for each in self._pending:
            each.cancel()
        self._pending.clear()

    def resume(self) -> None:
        """Start workers again, including those that are missing now."""
        self._is_paused = False
        self.fill()

    def _start(self) -> None:
        self._pending = [each for each in self._pending if each.active()]
        try:
            self._spawn()
        except OSError as error:
            self._log.error(
                "a worker cannot be started, retrying: {reason}",
                reason=str(error),
                event="workers.start.failed",
            )
            self.fill()
