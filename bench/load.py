"""Send requests to a server as fast as possible, or at a given rate, and measure the answers."""

from __future__ import annotations

import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import servers
from attrs import evolve, frozen

HERE = Path(__file__).resolve().parent
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

Figures = dict[str, float]
"""
What one measurement found.

C{rate} is in requests per second, C{microseconds} is the processor time of the server per request,
C{proxy} that of nginx; C{p50} and C{p99} are in milliseconds, C{memory} is in MiB. C{busy} and
C{client} are the processor time of the server and of wrk as shares of the time that passed: the one
that is 1 limits the rate. C{sleeps} is how often the server waited for work, per request.
"""


@frozen
class Load:
    """
    How to send requests.

    @ivar credentials: a file with a value of C{Authorization} in each line, which take turns.
    @ivar close: whether each request has a connection of its own.
    @ivar pace: requests per second; as many as possible, if 0.
    @ivar odd: one request in so many has a body, if not 0.
    @ivar host: the value of C{X-Forwarded-Host}; if empty the field is not sent.
    @ivar heads: C{repeated}, C{request id} (a new C{X-Request-ID} in each head), C{new} (13
        fields, among them a new URI in each head), C{nginx} (the fields of the shipped example of
        nginx, with a new C{X-Request-ID} and one of a hundred URIs), or C{nginx, new} (the same,
        with a new URI in each head).
    @ivar core: the cores on which the client runs.
    @ivar yields: whether wrk leaves its core to a server until the server waits or has used its
        time slice (SCHED_BATCH), instead of interrupting the server with each answer.
    """

    credentials: Path
    seconds: float = 1
    connections: int = 64
    close: bool = False
    pace: float = 0
    odd: int = 0
    host: str = ""
    method: str = "GET"
    heads: str = "repeated"
    path: str = "/authenticate"
    core: str = "1"
    yields: bool = False

    def but(self, **changes: Any) -> Load:
        return evolve(self, **changes)


def _environment(load: Load) -> dict[str, str]:
    return {
        **os.environ,
        "BENCH_CREDENTIALS": str(load.credentials),
        "BENCH_PATH": load.path,
        "BENCH_METHOD": load.method,
        "BENCH_HEADS": load.heads,
        "BENCH_ODD": str(load.odd),
        "BENCH_HOST": load.host,
        "BENCH_CLOSE": "yes" if load.close else "",
        "BENCH_PAUSE": str(load.connections / load.pace * 1000 if load.pace else 0),
    }


def wrk(port: int, process: int, *loads: Load, proxy: int = 0) -> Figures:
    """
    Measure with wrk. An answer other than 2xx ends the benchmark.

    @param process: the server whose processor time is measured.
    @param loads: how to send requests; several loads are sent at once, each by a wrk of its own.
        C{p50} and C{p99} are then those of the slowest wrk.
    @param proxy: the process of nginx, if the port is one of nginx.
    """
    spent, spent_by_proxy = _Spent(process), _Spent(proxy)
    began, by_client, asleep = time.monotonic(), _time_of_children(), servers.sleeps(process)
    with ThreadPoolExecutor(len(loads)) as threads:
        outputs = [*threads.map(lambda load: output_of_wrk(port, load), loads)]
    for output in outputs:
        if "Non-2xx" in output or "Socket errors" in output:
            sys.exit(f"port {port}:\n{output}")
    passed, by_client = time.monotonic() - began, _time_of_children() - by_client
    busy, slept = spent.seconds() / passed, servers.sleeps(process) - asleep
    count = sum(map(_count, outputs))
    by_proxy = {"proxy": spent_by_proxy.microseconds(count)} if proxy else {}
    return {
        "rate": sum(map(_rate, outputs)),
        "microseconds": spent.microseconds(count),
        "p50": max(percentile(output, 50) for output in outputs),
        "p99": max(percentile(output, 99) for output in outputs),
        "memory": servers.memory(process),
        "busy": busy,
        "client": by_client / passed,
        "sleeps": slept / count,
        **by_proxy,
    }


def output_of_wrk(port: int, load: Load) -> str:
    """Run wrk, and return what it prints."""
    command = ["taskset", "-c", load.core, "wrk", "-t1", f"-c{load.connections}", "--latency"]
    command += [f"-d{max(1, round(load.seconds))}s", "-s", str(HERE / "rotate.lua")]
    command += [f"http://127.0.0.1:{port}"]
    if load.yields:
        command = ["chrt", "--batch", "0", *command]
    run = subprocess.run(
        command, env=_environment(load), capture_output=True, text=True, check=True
    )
    return run.stdout


def _rate(output: str) -> float:
    return float(_found(r"Requests/sec:\s+([\d.]+)", output))


def _count(output: str) -> int:
    return int(_found(r"([1-9]\d*) requests in", output))


def _found(pattern: str, output: str) -> str:
    found = re.search(pattern, output)
    if found is None:
        sys.exit(output)
    return found[1]


def _time_of_children() -> float:
    """Return the processor time of all clients that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Spent:
    """The processor time that a process uses from now on."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._before = servers.processor_time(process) if process else 0

    def seconds(self) -> float:
        """Return the processor time since the start, in seconds."""
        return servers.processor_time(self._process) - self._before

    def microseconds(self, requests: int) -> float:
        """Return the microseconds for each of so many requests."""
        return self.seconds() / requests * 1e6


def percentile(output: str, which: int) -> float:
    """Return milliseconds from the output of wrk."""
    found = re.search(rf"^\s+{which}%\s+([\d.]+)(us|ms|s)\s*$", output, re.MULTILINE)
    return float(found[1]) * UNITS[found[2]] * 1000 if found else float("nan")


def unix(path: Path, process: int, load: Load) -> Figures:
    """
    Measure over a UNIX socket, which wrk cannot use.

    This client is slower than wrk, so the processor time of the server counts and not the rate. All
    connections send a request before the first answer is read.
    """
    values = cycle(load.credentials.read_text().splitlines())
    closing = "Connection: close\r\n" if load.close else ""
    opened = (
        [] if load.close else [connect(socket.AF_UNIX, str(path)) for _ in range(load.connections)]
    )
    spent, began, durations = _Spent(process), time.monotonic(), []
    while time.monotonic() - began < load.seconds:
        sent = time.monotonic()
        connections = opened or [
            connect(socket.AF_UNIX, str(path)) for _ in range(load.connections)
        ]
        for each in connections:
            each.sendall(head(load.path, next(values), closing))
        for each in connections:
            read_answer(each)
            durations.append((time.monotonic() - sent) * 1000)
        if load.close:
            for each in connections:
                each.close()
    ended = time.monotonic()
    for each in opened:
        each.close()
    cuts = statistics.quantiles(durations, n=100)
    return {
        "rate": len(durations) / (ended - began),
        "microseconds": spent.microseconds(len(durations)),
        "p50": cuts[49],
        "p99": cuts[98],
        "memory": servers.memory(process),
    }


def once(port: int, credentials: Path) -> None:
    """Send each credential once, so that the decisions about all of them are cached."""
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(32)]
    values = credentials.read_text().splitlines()
    for at in range(0, len(values), len(opened)):
        asked = list(zip(opened, values[at : at + len(opened)], strict=False))
        for each, value in asked:
            each.sendall(head("/authenticate", value))
        for each, _ in asked:
            read_answer(each)
    for each in opened:
        each.close()


def read_answer(connection: socket.socket) -> None:
    if not connection.recv(65536).startswith(b"HTTP/1.1 2"):
        sys.exit("an answer that is not 2xx")


def head(path: str, authorization: str, further: str = "") -> bytes:
    """Return the head of a request; C{further} are header lines."""
    lines = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: {authorization}\r\n{further}"
    return f"{lines}\r\n".encode()


def connect(family: socket.AddressFamily, address: tuple[str, int] | str) -> socket.socket:
    """Open a connection over TCP or to a UNIX socket."""
    connection = socket.socket(family)
    connection.connect(address)
    return connection
