"""Measure how long the work for one request blocks the reactor, and so all other clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ClassVar

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

LONGEST = 0.1
"""Number of seconds that one callback may take; longer callbacks are logged and counted."""


@define(eq=False)
class Meter:
    """
    Measures the callbacks that requests for one route cause.

    If a callback runs inside another callback that is being measured, its time counts as time of
    the outer callback.
    """

    _route: str
    _clock: IReactorTime
    _count: Callable[[str], None]
    _is_timing: ClassVar[bool] = False
    _log = Logger()

    def start(self) -> float | None:
        """Start to measure a callback; return C{None} inside a callback that is being measured."""
        if Meter._is_timing:
            return None
        Meter._is_timing = True
        return self._clock.seconds()

    def stop(self, began: float | None) -> None:
        """
        Stop a measurement.

        @param began: the value that L{start} returned when the measurement began.
        """
        if began is not None:
            Meter._is_timing = False
            self.note(self._clock.seconds() - began)

    def note(self, seconds: float) -> None:
        """Log and count a callback that took longer than L{LONGEST}."""
        if seconds > LONGEST:
            self._count(self._route)
            self._log.warn(
                "{route}: a request blocked the reactor for {milliseconds} ms; all clients waited",
                route=self._route,
                milliseconds=round(seconds * 1000),
                event="routes.callback.slow",
            )

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Measure a callback, and later the steps of the coroutines that it starts."""
        token = METER.set(self)
        began = self.start()
        try:
            yield
        finally:
            self.stop(began)
            METER.reset(token)


METER: ContextVar[Meter | None] = ContextVar("METER", default=None)
"""The meter of the request that is being handled; a coroutine keeps the meter in its context."""
