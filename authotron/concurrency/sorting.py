"""Sort very many values in pieces, so that the reactor can serve other requests meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.pieces import PIECE, Pieces

T = TypeVar("T", bound=Any)
"""The type of the values, which must be comparable."""

_IN_A_TURN = 1_024
"""Number of values that are sorted in one turn of the reactor."""

_VALUE = PIECE // _IN_A_TURN


async def part_in_order(
    clock: IReactorTime, batches: Iterable[Collection[T]], start: int, most: int
) -> tuple[list[T], int]:
    """
    Sort the distinct values of several batches; return a part of them in ascending order, and the
    number of all distinct values.

    @param start: the number of smallest values that are left out of the result.
    @param most: the maximum number of values that are returned.
    """
    pieces, seen = Pieces(clock), set[T]()
    runs: list[list[T]] = []
    run: list[T] = []
    for batch in batches:
        run += [each for each in batch if each not in seen]
        seen.update(batch)
        if len(run) >= _IN_A_TURN:
            runs.append(sorted(set(run)))
            run = []
        await pieces.add(_VALUE * (1 + len(batch)))
    runs.append(sorted(set(run)))
    values = merge(*runs)
    for skipped in range(0, min(start, len(seen)), _IN_A_TURN):
        for _ in islice(values, min(_IN_A_TURN, start - skipped)):
            pass
        await pieces.add(PIECE)
    return [*islice(values, most)], len(seen)
