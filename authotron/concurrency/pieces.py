"""Long work in pieces, between which the reactor serves other requests."""

from __future__ import annotations

import gc

from attrs import define, field
from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.internet.task import deferLater

PIECE = 64 * 1024
"""Bytes read or written in one turn of the reactor: about 3 ms of processor time."""


def exempt_from_collection(reactor: IReactorCore) -> None:
    """
    Exempt what is there when the reactor starts from garbage collection.

    None of it becomes garbage, and a full collection takes 50 ms for it: long lists, which create
    many objects, cause one after another.
    """

    def exempt() -> None:
        gc.collect()
        gc.freeze()

    reactor.callWhenRunning(exempt)


@define(eq=False)
class Pieces:
    """Counts the bytes of one piece of work, and gives way to others after each L{PIECE}."""

    _clock: IReactorTime
    _bytes: int = field(default=0, init=False)

    async def add(self, size: int) -> None:
        """Count C{size} bytes; wait for the next turn of the reactor if a piece is complete."""
        self._bytes += size
        if self._bytes >= PIECE:
            self._bytes = 0
            await deferLater(self._clock, 0, lambda: None)
