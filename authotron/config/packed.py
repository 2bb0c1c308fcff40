"""A long list in pickled form, which takes little memory and is unpacked piece by piece."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar, overload

from attrs import frozen

T = TypeVar("T")

_PIECE = 200
"""Number of items of a packed list that are pickled and unpickled together."""


@frozen
class Packed(Sequence[T]):
    """
    A list of sections of a configuration, whose items are pickled.

    A section of the configuration takes ten times as much memory as its pickled form. The pickled
    pieces are byte strings, so a process can pass a long list to another process in a few
    milliseconds.

    @ivar pieces: the pickled items, in lists of C{_PIECE} items.
    """

    pieces: tuple[bytes, ...]
    _length: int

    @classmethod
    def of(cls, items: Iterable[T]) -> Packed[T]:
        """Pack some items."""
        left, pieces, length = iter(items), list[bytes](), 0
        while piece := [*islice(left, _PIECE)]:
            pieces.append(pickle.dumps(piece))
            length += len(piece)
        return cls(tuple(pieces), length)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        for each in self.pieces:
            yield from self._unpack(each)

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...

    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        if isinstance(place, slice):
            return [*self][place]
        number, rest = divmod(range(self._length)[place], _PIECE)
        return self._unpack(self.pieces[number])[rest]

    @staticmethod
    def _unpack(piece: bytes) -> list[T]:
        items: list[T] = pickle.loads(piece)  # noqa: S301 - trusted: pickled by this process, its parent or its child
        return items
