"""A clock whose timers are set on an event loop of asyncio, such as uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer


@implementer(IDelayedCall)
@define(eq=False)
class _Timer:
    """A function that the event loop calls when a timer is due."""

    _loop: asyncio.AbstractEventLoop
    _seconds: Callable[[], float]
    _call: Callable[[], object]
    _due: float = field(default=0.0, init=False)
    _handle: asyncio.TimerHandle = field(init=False)
    _over: type[Exception] | None = field(default=None, init=False)
    _log = Logger()

    def start(self, delay: float) -> None:
        self._due = self._seconds() + delay
        self._handle = self._loop.call_later(delay, self._fire)

    def _fire(self) -> None:
        self._over = AlreadyCalled
        try:
            self._call()
        except Exception:  # noqa: BLE001 - as in Twisted, an exception in one timer does not stop the other timers
            self._log.failure(
                "a timer failed because of an internal error", event="routes.timer.broken"
            )

    def _stop(self) -> None:
        if self._over is not None:
            raise self._over
        self._handle.cancel()

    def cancel(self) -> None:
        self._stop()
        self._over = AlreadyCancelled

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803 - Twisted's interface gives the argument this name
        self._stop()
        self.start(secondsFromNow)

    def delay(self, secondsLater: float) -> None:  # noqa: N803 - Twisted's interface gives the argument this name
        self.reset(max(0.0, self._due - self._seconds() + secondsLater))

    def active(self) -> bool:
        return self._over is None

    def getTime(self) -> float:
        return self._due


@implementer(IReactorTime)
@define(eq=False)
class LoopClock:
    """
    Tells the time of a reactor, and sets timers of the event loop that the reactor runs on.

    Twisted's reactor on asyncio keeps cancelled timers until another timer is due, and searches all
    timers when one is moved to an earlier time. A timer of the event loop costs the same however
    many timers there are.

    @ivar seconds: a function that returns the time of the reactor, in seconds.
    """

    _loop: asyncio.AbstractEventLoop
    seconds: Callable[[], float]

    def callLater(self, delay: float, callable: Any, *args: Any, **kwargs: Any) -> IDelayedCall:  # noqa: A002 - Twisted's interface gives the argument this name
        timer = _Timer(self._loop, self.seconds, lambda: callable(*args, **kwargs))
        timer.start(delay)
        return timer

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """@raise NotImplementedError: always, because the event loop keeps no list of timers."""
        raise NotImplementedError("the event loop keeps no list of timers")
