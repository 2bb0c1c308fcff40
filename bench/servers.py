"""Starts what is measured, each on the cores it is given, and reads what it has spent."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

TWISTD = Path(sys.executable).parent / "twistd"


def needed(*commands: str) -> None:
    """Say what is missing, before anything is begun."""
    for command in commands:
        if find(command) is None:
            sys.exit(f"needs {command}: apt-get install wrk util-linux nginx-light")


def find(command: str) -> str | None:
    """Where a command is, also among those for administrators."""
    return shutil.which(command, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def free_port(count: int = 1) -> int:
    """The first of so many free ports in a row."""
    while True:
        with ExitStack() as stack:
            port = _bound(stack, 0)
            with suppress(OSError):
                for further in range(1, count):
                    _bound(stack, port + further)
                return port


def _bound(stack: ExitStack, port: int) -> int:
    attempt = stack.enter_context(socket.socket())
    attempt.bind(("127.0.0.1", port))
    bound: int = attempt.getsockname()[1]
    return bound


@contextmanager
def running(command: list[str], port: int, core: str, log: Path) -> Iterator[int]:
    """A server on these cores, from when it answers; its process number."""
    pinned = ["taskset", "-c", core, *command]
    with log.open("wb") as output, subprocess.Popen(pinned, stdout=output, stderr=output) as server:
        try:
            until = time.monotonic() + 60
            while not answers(port):
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit(f"{command[0]} did not start:\n{log.read_text()}")
                time.sleep(0.05)
            yield server.pid
        finally:
            server.terminate()


def answers(port: int) -> bool:
    """Whether somebody says anything; a port alone may be held for workers that still start."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def family(process: int) -> list[int]:
    """A process and all that it started."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        children = []
    return [process, *(one for child in children for one in family(int(child)))]


def processor_time(process: int) -> float:
    """Seconds that a process and its children have spent, by themselves and in the kernel."""
    spent = 0
    for each in family(process):
        for thread in Path(f"/proc/{each}/task").iterdir():
            spent += int((thread / "schedstat").read_text().split()[0])
    return spent / 1e9


def memory(process: int) -> float:
    """MiB that a process and its children have in memory."""
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family(process))
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
