"""
Divide work that takes long into pieces, so that the reactor can serve other requests between two
pieces.
"""

from __future__ import annotations

import gc

from attrs import define, field
from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.internet.task import deferLater

PIECE = 64 * 1024
"""Number of bytes that are read or written in one reactor turn: about 3 ms of processor time."""


def exempt_from_collection(reactor: IReactorCore) -> None:
    """
    Exempt the objects that exist when the reactor starts from garbage collection.

    Nearly all objects that exist after the start live as long as the process, but each full garbage
    collection takes 50 ms to visit them, and creating the many objects of a long list causes
    several full collections.

    No garbage collection is run before: it would delay the first answer by 50 ms to find 100
    objects, because the interpreter has collected several times while modules were imported.
    """
    reactor.callWhenRunning(gc.freeze)


@define(eq=False)
class Pieces:
    """
    Counts the bytes that a long piece of work has processed, and after each L{PIECE} bytes lets the
    reactor run other work.
    """

    _clock: IReactorTime
    _bytes: int = field(default=0, init=False)

    async def add(self, size: int) -> None:
        """Count C{size} bytes; after each L{PIECE} bytes, wait for the next reactor turn."""
        self._bytes += size
        if self._bytes >= PIECE:
            self._bytes = 0
            await deferLater(self._clock, 0, lambda: None)
