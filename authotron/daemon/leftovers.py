"""
Remove the UNIX sockets and pid files that a killed process left behind.

Twisted removes a leftover lock or pid file only if no process has the number in the file. In a
container each gateway has process number 1, so Twisted would never remove an earlier gateway's
files. The module connects to a socket to find out whether a process listens at the socket.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from twisted.logger import Logger

from authotron.config.endpoint import socket_path

_log = Logger()

_PROGRAMS = (b"twistd", b"authotron")
"""Words in the command line of a process by which a gateway is recognised."""


def remove_stale_socket(endpoint: str) -> None:
    """
    Remove the UNIX socket of an endpoint string, and its lock, if nothing listens at it.

    Only sockets and lock files are removed, and errors while removing them are ignored.
    """
    path = socket_path(endpoint)
    if path is None or not _is_stale(path):
        return
    lock = path.with_name(f"{path.name}.lock")
    removed = [each for each in (path, lock) if _is_leftover(each)]
    for each in removed:
        # If a file cannot be removed, listening fails later, with a reason.
        with suppress(OSError):
            each.unlink()
    if removed:
        _log.info(
            "removed the UNIX socket {path}, at which no process listens any more",
            path=str(path),
            event="startup.socket.stale",
        )


def _is_stale(path: Path) -> bool:
    """Whether no process listens at a path, or the path does not exist."""
    with socket.socket(socket.AF_UNIX) as attempt:
        attempt.setblocking(False)
        try:
            attempt.connect(str(path))
        except OSError as error:
            return error.errno in {errno.ECONNREFUSED, errno.ENOENT}
    return False


def _is_leftover(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISLNK(mode) if path.suffix == ".lock" else stat.S_ISSOCK(mode)


def remove_stale_pid_file(path: Path) -> None:
    """Remove a pid file that names this process, or a process that is not a gateway."""
    try:
        number = int(path.read_text())
    except (OSError, ValueError):
        return
    if number == os.getpid() or _is_other_program(number):
        with suppress(OSError):
            path.unlink()


def _is_other_program(number: int) -> bool:
    try:
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    # The process has ended, or there is no /proc: Twisted then decides whether the file is removed.
    except OSError:
        return False
    return not any(word in command for word in _PROGRAMS)
