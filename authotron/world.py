"""All that a part may touch of the outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")


class Threads(Protocol):
    """Runs what would hold up the reactor somewhere else."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """Start C{work} and say later what came of it."""


@frozen
class World:
    """
    The outside, as far as it may be touched.

    @ivar clock: timers, and with C{clock.seconds()} the seconds since the epoch.
    @ivar threads: a bounded pool for work that takes longer than a few milliseconds.
    """

    clock: IReactorTime
    threads: Threads
