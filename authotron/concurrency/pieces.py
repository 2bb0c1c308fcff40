"""
Divide work that takes long into pieces, so that the reactor can serve other requests between two
pieces.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.internet.task import deferLater

T = TypeVar("T")

LONGEST_PIECE = 0.01
"""
Number of seconds after which long-running work in the reactor's thread lets the reactor handle
other events.
"""

_THRESHOLDS = gc.get_threshold()
"""The thresholds of Python's garbage collector before they are changed."""

_NEVER = 2**31 - 1
"""A threshold of Python's garbage collector so high that it is never reached."""

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
    Counts the bytes that a long piece of work has processed, and lets the reactor run other work
    after each L{PIECE} bytes, or earlier if these bytes take longer than L{LONGEST_PIECE} seconds.
    """

    _clock: IReactorTime
    _bytes: int = field(default=0, init=False)
    _began: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self._clock.seconds()

    async def add(self, size: int) -> None:
        """
        Count C{size} processed bytes; if a piece of the work is complete, wait for the next turn of
        the reactor.
        """
        self._bytes += size
        if self._bytes >= PIECE or self._clock.seconds() - self._began >= LONGEST_PIECE:
            self._bytes = 0
            await deferLater(self._clock, 0, lambda: None)
            self._began = self._clock.seconds()


async def in_pieces(clock: IReactorTime, work: Generator[None, None, T]) -> T:
    """
    Do work that consists of many short steps, and let the reactor run other work every
    L{LONGEST_PIECE} seconds.

    @param work: a generator that yields after each step, and which returns the result.

    @return: the value that the generator returns.
    """
    began = clock.seconds()
    with _without_full_collections() as exempt:
        while True:
            try:
                next(work)
            except StopIteration as done:
                result: T = done.value
                return result
            if clock.seconds() - began >= LONGEST_PIECE:
                exempt.append(True)
                await deferLater(clock, 0, lambda: None)
                began = clock.seconds()


@contextmanager
def _without_full_collections() -> Iterator[list[bool]]:
    """
    Postpone full garbage collections, which would visit all objects that long work creates, and
    which take 100 ms for a million objects.

    Collections of the young generations continue. The C{with} block gets a list. If the block adds
    anything to the list, all objects that exist at the end of the block are exempt from garbage
    collection afterwards, as in L{exempt_from_collection}.
    """
    exempt: list[bool] = []
    gc.set_threshold(*_THRESHOLDS[:2], _NEVER)
    try:
        yield exempt
    finally:
        if exempt:
            gc.freeze()
        gc.set_threshold(*_THRESHOLDS)
