"""
Divide work that takes long into pieces, so that the reactor can serve other requests between two
pieces.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from authotron.concurrency.garbage import without_full_collections

T = TypeVar("T")

LONGEST_PIECE = 0.01
"""
Number of seconds after which long-running work in the reactor's thread lets the reactor handle
other events.
"""

PIECE = 64 * 1024
"""Number of bytes that are read or written in one reactor turn: about 3 ms of processor time."""


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
    with without_full_collections() as exempt:
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
