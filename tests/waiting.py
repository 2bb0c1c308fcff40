"""Wait for what happens in another process or on a real socket, within one generous time limit."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet import reactor  # noqa: TID251 - the condition lies in another process
from twisted.internet.task import deferLater

DEADLINE = 60.0
"""
Seconds after which a test fails because a condition has not come true.

No test expects that a condition comes true in a shorter time: how long that takes depends on the
machine. A test whose condition never comes true takes this long, and fails.
"""

TEST_TIMEOUT = 10 * DEADLINE
"""Seconds after which trial ends an asynchronous test that hangs."""

_PAUSE = 0.02
"""Seconds between two looks at a condition."""

_CLOCK: Any = reactor

T = TypeVar("T")


@define
class _Wait:
    """One wait for a condition: its end, and the last value that was seen."""

    what: str
    otherwise: Callable[[], str]
    began: float = field(factory=time.monotonic, init=False)

    def check(self, seen: object) -> None:
        """
        Check that there is time left.

        @raise AssertionError: the time limit is reached; the message shows the last value.
        """
        if time.monotonic() - self.began < DEADLINE:
            return
        last = "" if seen is None or isinstance(seen, bool) else f"; last seen: {seen!r}"
        raise AssertionError(
            f"not {self.what} within {DEADLINE:.0f} s{last}\n{self.otherwise()}".rstrip()
        )


def until(
    look: Callable[[], T],
    what: str,
    *,
    wanted: Callable[[T], object] = bool,
    otherwise: Callable[[], str] = str,
) -> T:
    """
    Look until the value is C{wanted}, by default a true one, and return the value.

    @param otherwise: what else the message of a failure shows, such as a log.
    @raise AssertionError: no such value was seen within L{DEADLINE}.
    """
    wait = _Wait(what, otherwise)
    while not wanted(seen := look()):
        wait.check(seen)
        time.sleep(_PAUSE)  # noqa: TID251 - the condition lies in another process
    return seen


async def eventually(
    look: Callable[[], T | Awaitable[T]],
    what: str,
    *,
    wanted: Callable[[T], object] = bool,
    otherwise: Callable[[], str] = str,
) -> T:
    """
    Do what L{until} does while the reactor runs. C{look} may be a coroutine function.

    @raise AssertionError: no such value was seen within L{DEADLINE}.
    """
    wait = _Wait(what, otherwise)
    while True:
        found = look()
        seen: T = await found if isawaitable(found) else found
        if wanted(seen):
            return seen
        wait.check(seen)
        await deferLater(_CLOCK, _PAUSE)
