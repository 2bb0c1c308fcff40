"""Start, pin and observe the processes that are measured."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

TWISTD = Path(sys.executable).parent / "twistd"
AUTHOTRON = Path(sys.executable).parent / "authotron"
WAITS = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)
STARTING = 300
"""Seconds within which a server must answer; reading 100,000 policies takes one minute."""


def require(*commands: str) -> None:
    """Exit with a message if a command is not installed."""
    for command in commands:
        if find(command) is None:
            sys.exit(f"needs {command}: apt-get install wrk util-linux iproute2 nginx-light")


def find(command: str) -> str | None:
    """Return the path of a command, which may be one for administrators."""
    return shutil.which(command, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def free_port(count: int = 1) -> int:
    """Return the first of C{count} consecutive free ports."""
    while True:
        with ExitStack() as stack:
            port = _bind(stack, 0)
            with suppress(OSError):
                for further in range(1, count):
                    _bind(stack, port + further)
                return port


def _bind(stack: ExitStack, port: int) -> int:
    attempt = stack.enter_context(socket.socket())
    attempt.bind(("127.0.0.1", port))
    bound: int = attempt.getsockname()[1]
    return bound


@contextmanager
def running(
    command: list[str], port: int, core: str, log: Path, *, pause: float = 0.05
) -> Iterator[int]:
    """
    Run a server on the given cores, and yield its process id as soon as it answers.

    The server runs in the folder of its log: twistd imports from the current folder first, which
    must not be the checkout of another version.

    @param pause: seconds between two attempts to get an answer.
    """
    pinned = ["taskset", "-c", core, *command]
    with (
        log.open("wb") as output,
        subprocess.Popen(pinned, stdout=output, stderr=output, cwd=log.parent) as server,
    ):
        try:
            until = time.monotonic() + STARTING
            while not answers(port):
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit(f"{command[0]} did not start:\n{log.read_text()}")
                time.sleep(pause)
            yield server.pid
        finally:
            server.terminate()


def answers(port: int) -> bool:
    """
    Return whether a server sends an answer.

    An open port is not enough: a supervisor holds the port while its workers still start.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def family(process: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        children = []
    return [process, *(one for child in children for one in family(int(child)))]


def _threads(process: int) -> Iterator[Path]:
    for each in family(process):
        yield from Path(f"/proc/{each}/task").iterdir()


def pin(process: int, cores: str) -> None:
    """Move a process, its descendants and all their threads to the given cores, such as C{0,1}."""
    for thread in _threads(process):
        os.sched_setaffinity(int(thread.name), set(map(int, cores.split(","))))


def processor_time(process: int) -> float:
    """Return the seconds, user and system, that a process and its descendants have used."""
    nanoseconds = 0
    for thread in _threads(process):
        nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def sleeps(process: int) -> int:
    """Return how often a process and its descendants have waited for work since they started."""
    texts = [(thread / "status").read_text() for thread in _threads(process)]
    return sum(int(count) for count in WAITS.findall("\n".join(texts)))


def memory(process: int) -> float:
    """Return the resident memory of a process and its descendants in MiB."""
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family(process))
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def descriptors(process: int) -> int:
    """Return how many descriptors a process and its descendants have open."""
    return sum(len([*Path(f"/proc/{each}/fd").iterdir()]) for each in family(process))
