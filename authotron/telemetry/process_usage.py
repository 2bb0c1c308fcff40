"""What processes use, as the kernel tells it: processors, memory, files."""

from __future__ import annotations

import math
import operator
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import reduce
from pathlib import Path

from attrs import frozen

PROC = Path("/proc")

_BOOT = time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME)
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


@frozen
class Use:
    """
    What one process uses, or several together.

    @ivar started: seconds since the epoch; of several, when the first of them began.
    @ivar ticks: time of processors, that of children that are gone included. They are whole, so
        that the sum stays the same when one that ends becomes part of another.
    @ivar virtual: bytes that have an address.
    @ivar resident: bytes that are in memory.
    @ivar files: descriptors that are open; of several, those of the one that has the fewest left.
    @ivar most_files: as many as that one may have.
    """

    started: float
    ticks: int
    virtual: float
    resident: float
    files: float
    most_files: float

    @property
    def seconds(self) -> float:
        return self.ticks / _TICKS

    def __add__(self, other: Use) -> Use:
        fullest = max(self, other, key=lambda each: each.files / each.most_files)
        return Use(
            min(self.started, other.started),
            self.ticks + other.ticks,
            self.virtual + other.virtual,
            self.resident + other.resident,
            fullest.files,
            fullest.most_files,
        )


def together(children: Iterable[int], proc: Path = PROC) -> Use | None:
    """What this process and its children use; C{None} if the system does not tell."""
    uses = list(_uses([proc / "self", *(proc / str(pid) for pid in children)]))
    return reduce(operator.add, uses) if uses else None


def _uses(folders: Iterable[Path]) -> Iterator[Use]:
    """Of those that are still there. Nothing else is read: a sandbox may hide the rest."""
    for folder in folders:
        with suppress(OSError):
            yield _use(folder)


def _use(folder: Path) -> Use:
    fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()  # see proc(5)
    return Use(
        _BOOT + int(fields[19]) / _TICKS,
        sum(map(int, fields[11:15])),
        int(fields[20]),
        int(fields[21]) * _PAGE,
        *_files(folder),
    )


def _files(folder: Path) -> tuple[float, float]:
    """How many are open, and may be; none of one that has just ended."""
    try:
        limits = (folder / "limits").read_text()
        files = len(os.listdir(folder / "fd"))  # noqa: PTH208 - there may be very many
    except OSError:
        return 0, math.inf
    [limit] = [line.split()[3] for line in limits.splitlines() if line.startswith("Max open files")]
    return files, math.inf if limit == "unlimited" else int(limit)
