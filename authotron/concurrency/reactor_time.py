"""How long the work for one request holds the reactor up: all other clients wait meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ClassVar

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

LONGEST = 0.1
"""Seconds that one callback may take; beyond them it is logged and counted."""


@define(eq=False)
class Meter:
    """
    Times the callbacks that requests for one route cause.

    A callback within another one that is timed belongs to that one.
    """

    _route: str
    _clock: IReactorTime
    _count: Callable[[str], None]
    _is_timing: ClassVar[bool] = False
    _log = Logger()

    def start(self) -> float | None:
        """Begin to time a callback; C{None} within another one."""
        if Meter._is_timing:
            return None
        Meter._is_timing = True
        return self._clock.seconds()

    def stop(self, began: float | None) -> None:
        """End what L{start} has begun."""
        if began is not None:
            Meter._is_timing = False
            self.note(self._clock.seconds() - began)

    def note(self, seconds: float) -> None:
        """Log and count a callback if it took too long."""
        if seconds > LONGEST:
            self._count(self._route)
            self._log.warn(
                "{route}: a request held the reactor up for {milliseconds} ms; all clients waited",
                route=self._route,
                milliseconds=round(seconds * 1000),
                event="routes.callback.slow",
            )

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Time a callback, and whatever is begun by it when it goes on later."""
        token = METER.set(self)
        began = self.start()
        try:
            yield
        finally:
            self.stop(began)
            METER.reset(token)


METER: ContextVar[Meter | None] = ContextVar("METER", default=None)
"""What times the work at hand. Deferreds that are made of coroutines go on in their context."""
