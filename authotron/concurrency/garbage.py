"""When Python's garbage collector visits all objects, which takes 50 ms in a gateway."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # this module is used before a reactor is chosen
    from twisted.internet.interfaces import IReactorCore

_THRESHOLDS = gc.get_threshold()
"""The thresholds of Python's garbage collector before they are changed."""

_NEVER = 2**31 - 1
"""A threshold of Python's garbage collector so high that it is never reached."""


def postpone_full_collections() -> None:
    """
    Run no full garbage collection before the reactor starts.

    Importing the modules of a gateway would cause one, which delays the first answer by some 20 ms
    and finds hardly anything. Collections of the young generations continue.
    """
    gc.set_threshold(*_THRESHOLDS[:2], _NEVER)


def exempt_from_collection(reactor: IReactorCore) -> None:
    """
    Exempt the objects that exist when the reactor starts from garbage collection, and let full
    collections run from then on.

    Nearly all objects that exist after the start live as long as the process, but each full garbage
    collection takes 50 ms to visit them, and creating the many objects of a long list causes
    several full collections. For the same reason no garbage collection is run before.
    """

    def exempt() -> None:
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)

    reactor.callWhenRunning(exempt)


@contextmanager
def without_full_collections() -> Iterator[list[bool]]:
    """
    Postpone full garbage collections, which would visit all objects that long work creates, and
    which take 100 ms for a million objects.

    Collections of the young generations continue. The C{with} block gets a list. If the block adds
    anything to the list, all objects that exist at the end of the block are exempt from garbage
    collection afterwards, as in L{exempt_from_collection}.
    """
    exempt: list[bool] = []
    postpone_full_collections()
    try:
        yield exempt
    finally:
        if exempt:
            gc.freeze()
        gc.set_threshold(*_THRESHOLDS)
