"""
What remote providers cost others: the slowest percent of plain requests with and without a crowd
whose tokens nobody judges because every remote hangs; and how often a remote is asked about one
token that a thousand requests carry at once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import settings

import bench

HERE = Path(__file__).resolve().parent
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"uid": "tess"}'


class Remote:
    """Accepts connections; answers after a while, or never."""

    def __init__(self, *, silent: bool) -> None:
        self.questions = 0
        self._silent = silent
        self._kept: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            if self._silent:
                self._kept.append(client)
            else:
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        while client.recv(65536):
            self.questions += 1
            threading.Event().wait(0.3)
            client.sendall(ANSWER)


def configuration(port: int, metrics: int, remote: Remote) -> dict[str, Any]:
    """A gateway that knows users by itself, and asks the remote about tokens in several ways."""
    where = f"http://127.0.0.1:{remote.port}"
    own = settings.gateway(port, metrics)
    offline = {
        "cert_uri": where,
        "public_client_id": "app",
        "private_client_id": "gate",
        "private_client_secret": "secret",
        "iam_url": where,
    }
    own["providers"] += [
        {"name": "one", "type": "ecmwf-api", "realm": "one", "uri": where},
        {"name": "two", "type": "efas-api", "realm": "two", "uri": where},
        {"name": "three", "type": "openid-offline", "realm": "three", **offline},
    ]
    return own


@contextmanager
def gateway(folder: Path, core: str, remote: Remote, *, only_first: bool) -> Iterator[int]:
    """A gateway in front of the remote."""
    port = bench.free_port()
    content = configuration(port, bench.free_port(), remote)
    if only_first:
        content["providers"] = content["providers"][:2]
    file = folder / f"{port}.yaml"
    file.write_text(json.dumps(content))
    file.chmod(0o600)
    command = [str(bench.TWISTD), "-n", "--pidfile=", "authotron", "--config", str(file)]
    with bench.running(command, port, core, folder / f"{port}.log"):
        yield port


def ask(port: int, token: str) -> int:
    """The status that a token meets."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    with suppress(OSError):
        connection.request("GET", "/authenticate", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    return 0


@contextmanager
def crowd(port: int, size: int) -> Iterator[None]:
    """So many clients, each with one new token after the other."""
    tokens, enough = count(), threading.Event()

    def come_back() -> None:
        while not enough.is_set():
            ask(port, f"token-{next(tokens)}")
            enough.wait(0.05)

    threads = [threading.Thread(target=come_back, daemon=True) for _ in range(size)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        enough.set()
        for each in threads:
            each.join()


def slowest(port: int, options: argparse.Namespace, credentials: Path) -> float:
    """Seconds within which 99 of 100 plain requests are answered."""
    command = ["taskset", "-c", options.client_core, "wrk", "-t1", "-c8", "--latency"]
    command += [f"-d{options.seconds}s", "-s", str(HERE / "rotate.lua"), f"http://127.0.0.1:{port}"]
    environ = {**os.environ, "BENCH_CREDENTIALS": str(credentials)}
    told = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    found = re.search(r"99%\s+([\d.]+)(us|ms|s)", told)
    if found is None or "Non-2xx" in told or "Socket errors" in told:
        sys.exit(told)
    return float(found[1]) * UNITS[found[2]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--crowd", type=int, default=50)
    parser.add_argument("--server-core", default="0")
    parser.add_argument("--client-core", default="1")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        credentials = folder / "credentials"
        credentials.write_text("".join(f"{bench.basic(user)}\n" for user in settings.USERS))
        pairs = []
        hanging = Remote(silent=True)
        with gateway(folder, options.server_core, hanging, only_first=False) as port:
            slowest(port, options, credentials)  # for warming up
            for _ in range(options.rounds):
                alone = slowest(port, options, credentials)
                with crowd(port, options.crowd):
                    pairs.append((alone, slowest(port, options, credentials)))
        ratio = statistics.median(beside / alone for alone, beside in pairs)
        for alone, beside in pairs:
            print(f"99 of 100 within {alone * 1e3:.2f} ms alone, {beside * 1e3:.2f} ms beside")
        print(f"p99 beside hanging remotes: x {ratio:.2f}")
        slow = Remote(silent=False)
        with (
            gateway(folder, options.server_core, slow, only_first=True) as port,
            ThreadPoolExecutor(100) as threads,
        ):
            statuses = list(threads.map(lambda _: ask(port, "new"), range(1000)))
        print(
            f"1000 requests with one new token: {statuses.count(200)} x 200, "
            f"{slow.questions} questions"
        )


if __name__ == "__main__":
    main()
