"""Asks a server as fast as it can, or at a given pace, and says how it fared."""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import servers
from attrs import evolve, frozen

HERE = Path(__file__).resolve().parent
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@frozen
class Load:
    """
    How to ask.

    @ivar credentials: a file with a value of C{Authorization} in each line, which take turns.
    @ivar close: whether each request has a connection of its own.
    @ivar pace: requests a second to stay at; as many as possible, if 0.
    @ivar odd: one request in so many has a body, if not 0.
    @ivar host: the value of C{X-Forwarded-Host}; if empty the field is not sent.
    @ivar core: on which the one who asks runs.
    """

    credentials: Path
    seconds: float = 1
    connections: int = 32
    close: bool = False
    pace: float = 0
    odd: int = 0
    host: str = ""
    path: str = "/authenticate"
    core: str = "1"

    def but(self, **changes: Any) -> Load:
        return evolve(self, **changes)


def wrk(port: int, process: int, load: Load) -> dict[str, float]:
    """What wrk measures; an answer that is not 2xx spoils everything."""
    before = servers.processor_time(process)
    command = ["taskset", "-c", load.core, "wrk", "-t1", f"-c{load.connections}", "--latency"]
    command += [f"-d{max(1, round(load.seconds))}s", "-s", str(HERE / "rotate.lua")]
    environ = {
        **os.environ,
        "BENCH_CREDENTIALS": str(load.credentials),
        "BENCH_PATH": load.path,
        "BENCH_ODD": str(load.odd),
        "BENCH_HOST": load.host,
        "BENCH_CLOSE": "yes" if load.close else "",
        "BENCH_PAUSE": str(load.connections / load.pace * 1000 if load.pace else 0),
    }
    told = subprocess.run(
        [*command, f"http://127.0.0.1:{port}"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        sys.exit(f"port {port}:\n{told}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    count = re.search(r"(\d+) requests in", told)
    if rate is None or count is None or not int(count[1]):
        sys.exit(told)
    spent = (servers.processor_time(process) - before) / int(count[1]) * 1e6
    return {
        "rate": float(rate[1]),
        "microseconds": spent,
        "p50": _percentile(told, 50),
        "p99": _percentile(told, 99),
        "memory": servers.memory(process),
    }


def _percentile(told: str, which: int) -> float:
    """Milliseconds."""
    found = re.search(rf"^\s+{which}%\s+([\d.]+)(us|ms|s)\s*$", told, re.MULTILINE)
    return float(found[1]) * UNITS[found[2]] * 1000 if found else float("nan")


def unix(path: str, process: int, load: Load) -> dict[str, float]:
    """The same over a UNIX socket, which wrk does not know: the asker is slower than wrk is."""
    values = cycle(load.credentials.read_text().splitlines())
    closing = "Connection: close\r\n" if load.close else ""
    opened = [] if load.close else [_connected(path) for _ in range(load.connections)]
    before, began, took = servers.processor_time(process), time.monotonic(), []
    while time.monotonic() - began < load.seconds:
        asked = time.monotonic()
        connections = opened or [_connected(path) for _ in range(load.connections)]
        for each in connections:
            head = f"GET {load.path} HTTP/1.1\r\nHost: bench\r\nAuthorization: {next(values)}\r\n"
            each.sendall(f"{head}{closing}\r\n".encode())
        for each in connections:
            if not each.recv(65536).startswith(b"HTTP/1.1 2"):
                sys.exit("an answer that is not 2xx")
            took.append((time.monotonic() - asked) * 1000)
        if load.close:
            for each in connections:
                each.close()
    ended = time.monotonic()
    for each in opened:
        each.close()
    spent = (servers.processor_time(process) - before) / len(took) * 1e6
    cuts = statistics.quantiles(took, n=100)
    return {
        "rate": len(took) / (ended - began),
        "microseconds": spent,
        "p50": cuts[49],
        "p99": cuts[98],
        "memory": servers.memory(process),
    }


def once(port: int, credentials: Path) -> None:
    """Ask for each credential once, so that all are remembered, if there is room."""
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(32)]
    values = credentials.read_text().splitlines()
    for at in range(0, len(values), len(opened)):
        asked = list(zip(opened, values[at : at + len(opened)], strict=False))
        for each, value in asked:
            head = f"GET /authenticate HTTP/1.1\r\nHost: bench\r\nAuthorization: {value}\r\n\r\n"
            each.sendall(head.encode())
        for each, _ in asked:
            if not each.recv(65536).startswith(b"HTTP/1.1 2"):
                sys.exit("an answer that is not 2xx")
    for each in opened:
        each.close()


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection
