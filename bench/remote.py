"""
What hanging remotes cost others: the slowest percent of plain requests alone, beside a crowd with
tokens that remotes refuse at once, and beside the same crowd when every remote hangs; and how often
a remote is asked about one token that a thousand requests carry at once.
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

import fleet
import servers
import settings

HERE = Path(__file__).resolve().parent
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"uid": "tess"}'
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}"


class Remote:
    """Accepts connections, and gives its one answer after a while, or none ever."""

    def __init__(self, answer: bytes | None, pause: float = 0) -> None:
        self.questions = 0
        self._says, self._pause = answer, pause
        self._kept: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            if self._says is None:
                self._kept.append(client)
            else:
                arguments = (client, self._says)
                threading.Thread(target=self._answer, args=arguments, daemon=True).start()

    def _answer(self, client: socket.socket, answer: bytes) -> None:
        while client.recv(65536):
            self.questions += 1
            threading.Event().wait(self._pause)
            client.sendall(answer)


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
    own["providers"] = [
        *own["providers"],
        {"name": "one", "type": "ecmwf-api", "realm": "one", "uri": where},
        {"name": "two", "type": "efas-api", "realm": "two", "uri": where},
        {"name": "three", "type": "openid-offline", "realm": "three", **offline},
    ]
    return own


@contextmanager
def gateway(folder: Path, core: str, remote: Remote, *, only_first: bool) -> Iterator[int]:
    """A gateway in front of the remote."""
    port = servers.free_port()
    content = configuration(port, servers.free_port(), remote)
    if only_first:
        content["providers"] = content["providers"][:2]
    file = folder / f"{port}.yaml"
    file.write_text(json.dumps(content))
    file.chmod(0o600)
    command = [str(servers.AUTHOTRON), "run", "--config", str(file)]
    with servers.running(command, port, core, folder / f"{port}.log"):
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

    def come_back(place: int) -> None:
        enough.wait(place / size)  # not all at once
        while not enough.is_set():
            ask(port, f"token-{next(tokens)}")
            enough.wait(1)

    threads = [threading.Thread(target=come_back, args=(n,), daemon=True) for n in range(size)]
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
    parser.add_argument("--crowd", type=int, default=20)
    parser.add_argument("--server-core", default="0")
    parser.add_argument("--client-core", default="1")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        credentials = folder / "credentials"
        credentials.write_text("".join(f"{fleet.basic(user)}\n" for user in settings.USERS))
        rounds = []
        core = options.server_core
        with (
            gateway(folder, core, Remote(REFUSAL), only_first=False) as well,
            gateway(folder, core, Remote(None), only_first=False) as ill,
        ):
            for turn in range(options.rounds + 1):
                alone = slowest(ill, options, credentials)
                with crowd(well, options.crowd):
                    without = slowest(well, options, credentials)
                with crowd(ill, options.crowd):
                    hanging = slowest(ill, options, credentials)
                if turn:  # the first is for warming up
                    rounds.append((alone, without, hanging))
                    told = [f"{each * 1e3:.2f}" for each in rounds[-1]]
                    print(f"p99 in ms: {told[0]} alone, {told[1]} refused, {told[2]} hanging")
        of_alone = statistics.median(hanging / alone for alone, _, hanging in rounds)
        of_refused = statistics.median(hanging / refused for _, refused, hanging in rounds)
        print(f"p99 while every remote hangs: x {of_alone:.2f} alone, x {of_refused:.2f} refused")
        slow = Remote(GOOD, pause=0.3)
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
