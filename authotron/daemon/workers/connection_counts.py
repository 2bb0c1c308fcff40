"""The numbers of open connections of all workers of a service, in memory that the workers share."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from heapq import heappop, heappush

from attrs import define, field

_BYTES = 4
"""Size in bytes of one number, which the processor reads and writes in one step."""


@define(eq=False)
class Places:
    """
    The places of all workers in the shared memory, which the supervisor assigns.

    The number at a place is 0 while no worker accepts connections there, and otherwise the number
    of open connections of the worker plus one. Each worker writes only its own number in the shared
    memory. No lock is needed, because a number may be some microseconds old.

    @ivar descriptor: the descriptor of the shared memory, which workers inherit.
    """

    descriptor: int
    _numbers: memoryview
    _free: list[int]

    @classmethod
    def create(cls, size: int) -> Places:
        """
        Create the shared memory for a number of workers (memfd_create(2)).

        @raise OSError: the system has no memory or no descriptor left.
        """
        descriptor = os.memfd_create("authotron-connections", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, size * _BYTES)
        return cls(descriptor, _numbers(descriptor), [*range(size)])

    def take(self) -> int | None:
        """Return the first free place in the shared memory, or C{None} if all places are taken."""
        return heappop(self._free) if self._free else None

    def release(self, place: int | None) -> None:
        """Free the place of a worker that has ended in the shared memory."""
        if place is not None:
            self._numbers[place] = 0
            heappush(self._free, place)


def _numbers(descriptor: int) -> memoryview:
    return memoryview(mmap.mmap(descriptor, 0)).cast("i")


@define(eq=False)
class OwnCount:
    """
    The number of this worker in the shared memory with the numbers of all workers.

    @ivar open: the number of open connections of this worker.
    """

    _numbers: memoryview
    _place: int
    open: int = field(default=0, init=False)

    @classmethod
    def at(cls, place: int | None, descriptor: int) -> OwnCount:
        """
        Return the object by which a worker publishes its number of connections.

        @param place: the place that the supervisor has assigned. A worker without a place in the
            shared memory compares itself with no other worker.
        @param descriptor: the descriptor of the shared memory, which is closed.
        """
        numbers = _numbers(descriptor)
        os.close(descriptor)
        return (
            cls(memoryview(bytearray(_BYTES)).cast("i"), 0)
            if place is None
            else cls(numbers, place)
        )

    def publish(self, count: int) -> None:
        """
        Set the number of open connections of this worker, which the other workers see
        at once.
        """
        self.open = count
        self._numbers[self._place] = count + 1

    def withdraw(self) -> None:
        """Tell the other workers that this worker accepts no further connections."""
        self._numbers[self._place] = 0

    def behind(self, lead: int) -> Mapping[int, int]:
        """
        Return the numbers of the workers that have fewer connections than this worker by at least
        the given difference.
        """
        most = self.open + 1 - lead
        if min(filter(None, self._numbers), default=0) > most:
            return {}
        return {place: each for place, each in enumerate(self._numbers) if 0 < each <= most}
