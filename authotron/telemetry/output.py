"""
Writes log lines without waiting; a line for which the stream has no room is dropped
and counted.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from contextlib import suppress
from errno import ENOSYS, EOPNOTSUPP
from typing import TextIO

from attrs import define, field

_ATOMIC = select.PIPE_BUF
"""Maximum number of bytes that are written to a pipe as a whole or not at all, see pipe(7)."""


@define(eq=False)
class Output:
    """
    Writes lines to a stream of the operating system, such as standard output.

    A log line for which a pipe has no room is dropped, because a blocking write would stop the
    whole gateway until the process at the other end reads. The file descriptor of the stream stays
    blocking, because other processes share it.

    @ivar dropped: the number of lines that were dropped so far.
    """

    dropped: int = field(default=0, init=False)
    _unreported: int = field(default=0, init=False)
    _rest: bytes = field(default=b"", init=False, repr=False)
    _kinds: dict[int, Callable[[int, bytes], int]] = field(factory=dict, init=False, repr=False)

    def write(self, stream: TextIO, line: str, report: Callable[[int], str]) -> None:
        """
        Write a log line, or drop the line if there is no room for it.

        @param report: a function that gets a number of dropped lines, and returns a log line that
            reports the number.
        """
        try:
            descriptor = self._descriptor(stream)
        except (OSError, ValueError):  # the stream has no file descriptor
            stream.write(line + "\n")
            stream.flush()
            return
        if not self._push(descriptor, b""):
            self.dropped += 1
            self._unreported += 1
            return
        if self._unreported:
            line = f"{report(self._unreported)}\n{line}"
            self._unreported = 0
        self._push(descriptor, f"{line}\n".encode("utf-8", "backslashreplace"))

    def _push(self, descriptor: int, data: bytes) -> bool:
        """
        Write the rest of earlier lines, and then C{data}; return whether
        everything was written.
        """
        data = self._rest + data
        write = self._kinds[descriptor]
        done = 0
        with suppress(OSError):  # the pipe has no room, or its reader has closed it
            while done < len(data):
                done += write(descriptor, data[done : done + _ATOMIC])
        self._rest = data[done:]
        return not self._rest

    def _descriptor(self, stream: TextIO) -> int:
        """
        Return the file descriptor of a stream, and determine which function writes to it without
        blocking.
        """
        descriptor = stream.fileno()
        if descriptor not in self._kinds:
            # Text that is already printed but still buffered must be flushed before the first log
            # line is written.
            stream.flush()
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode):
                self._kinds[descriptor] = os.write
            else:
                is_queue = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
                self._kinds[descriptor] = _write_at_once if is_queue else _write_if_ready
        return descriptor


def _write_at_once(descriptor: int, data: bytes) -> int:
    """
    Write as much of some data as fits into a pipe or a socket.

    @raise OSError: the pipe or socket has no room.
    """
    try:
        return os.pwritev(descriptor, [data], -1, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno not in (EOPNOTSUPP, ENOSYS):
            raise
    return _write_if_ready(descriptor, data)


def _write_if_ready(descriptor: int, data: bytes) -> int:
    """
    Write to a terminal (on older kernels, to a stream of any kind), but only if the stream is ready
    for writing.

    @raise OSError: the stream is not ready for writing.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, data)
