"""Processor time, memory and open files of this process and its children, from C{/proc}."""

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
"""The folder in which the Linux kernel shows information about processes, see proc(5)."""

_BOOT = time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME)
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


@frozen
class Usage:
    """
    The resources that one process uses, or the sum for several processes.

    @ivar started: when the process started, in seconds since the epoch; of several processes the
        earliest start.
    @ivar ticks: processor time in clock ticks, including child processes that have ended, whose
        time the kernel adds to that of the parent. The sum of durations is an integer, because a
        sum of floats could decrease when a child process ends.
    @ivar virtual: the number of bytes of virtual memory.
    @ivar resident: the number of bytes of physical memory.
    @ivar threads: the number of threads.
    @ivar files: the number of open file descriptors of the process that is nearest to its limit of
        file descriptors.
    @ivar most_files: the limit of file descriptors of the process that is nearest to its limit.
    """

    started: float
    ticks: int
    virtual: float
    resident: float
    threads: int
    files: float
    most_files: float

    @property
    def seconds(self) -> float:
        """The processor time that the processes have used, in seconds."""
        return self.ticks / _TICKS

    def __add__(self, other: Usage) -> Usage:
        fullest = max(self, other, key=lambda each: each.files / each.most_files)
        return Usage(
            min(self.started, other.started),
            self.ticks + other.ticks,
            self.virtual + other.virtual,
            self.resident + other.resident,
            self.threads + other.threads,
            fullest.files,
            fullest.most_files,
        )


def together(children: Iterable[int], proc: Path = PROC) -> Usage | None:
    """
    Add up the resources that this process and its children use, or return
    C{None} without C{/proc}.
    """
    uses = list(_uses([proc / "self", *(proc / str(pid) for pid in children)]))
    return reduce(operator.add, uses) if uses else None


def _uses(folders: Iterable[Path]) -> Iterator[Usage]:
    """
    Yield the resources that each process uses; processes that have ended, or whose files in
    C{/proc} a sandbox hides, are left out.
    """
    for folder in folders:
        with suppress(OSError):
            yield _use(folder)


def _use(folder: Path) -> Usage:
    fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()  # see proc(5)
    return Usage(
        _BOOT + int(fields[19]) / _TICKS,
        sum(map(int, fields[11:15])),
        int(fields[20]),
        int(fields[21]) * _PAGE,
        int(fields[17]),
        *_files(folder),
    )


def _files(folder: Path) -> tuple[float, float]:
    """
    Return the number of open files of a process and its limit, or 0 and infinity if the process has
    ended.
    """
    try:
        limits = (folder / "limits").read_text()
        files = len(os.listdir(folder / "fd"))  # noqa: PTH208 - a list of names is faster than Path objects
    except OSError:
        return 0, math.inf
    [limit] = [line.split()[3] for line in limits.splitlines() if line.startswith("Max open files")]
    return files, math.inf if limit == "unlimited" else int(limit)
