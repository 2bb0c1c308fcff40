"""All that a part may touch of the outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

T = TypeVar("T")


class Threads(Protocol):
    """Runs what would hold up the reactor somewhere else."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """Start C{work} and say later what came of it."""


class Connect(Protocol):
    """Knows the way to other machines."""

    def __call__(self, host: str, port: int, /) -> IStreamClientEndpoint:
        """Where a connection to C{port} of C{host} would begin. Nothing is connected yet."""


def no_network(host: str, port: int, /) -> IStreamClientEndpoint:
    """A world without other machines."""
    raise RuntimeError(f"this world has no way to {host}:{port}")


@frozen
class World:
    """
    The outside, as far as it may be touched.

    @ivar clock: timers, and with C{clock.seconds()} the seconds since the epoch.
    @ivar threads: a bounded pool for work that takes longer than a few milliseconds.
    @ivar connect: the way to other machines.
    """

    clock: IReactorTime
    threads: Threads
    connect: Connect = no_network
