"""
How many C{/authenticate} a second one core answers, against the same job in plain Klein.

All servers run side by side, each pinned to one core, and are asked in turns, so that what else
the machine does hits all of them alike. Prints a table with the ratios of each round, and keeps
everything as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import settings

HERE = Path(__file__).resolve().parent
TWISTD = Path(sys.executable).parent / "twistd"
BASELINE = "klein"
OURS: dict[str, dict[str, Any]] = {
    "authotron": {},
    "access: all": {"logging": {"access": "all"}},
    "cache.ttl: 0": {"auth": {"cache": {"ttl": 0}}},
}


def free_port() -> int:
    with socket.socket() as attempt:
        attempt.bind(("127.0.0.1", 0))
        port: int = attempt.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], port: int, core: str, log: Path) -> Iterator[None]:
    """A server on a core, from when it answers."""
    pinned = ["taskset", "-c", core, *command]
    with log.open("wb") as output, subprocess.Popen(pinned, stdout=output, stderr=output) as server:
        try:
            until = time.monotonic() + 30
            while not listens(port):
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit(f"{command[0]} did not start:\n{log.read_text()}")
                time.sleep(0.05)
            yield
        finally:
            server.terminate()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def load(port: int, options: argparse.Namespace, credentials: Path) -> float:
    """Requests a second, as wrk measures them; an answer that is not 2xx spoils everything."""
    command = ["taskset", "-c", options.client_core, "wrk", "-t1", f"-c{options.connections}"]
    command += [f"-d{options.seconds}s", "-s", str(HERE / "rotate.lua"), f"http://127.0.0.1:{port}"]
    environ = {**os.environ, "BENCH_CREDENTIALS": str(credentials)}
    told = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        sys.exit(f"port {port}:\n{told}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", told)
    if found is None:
        sys.exit(told)
    return float(found[1])


def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    """For each server the requests a second of every round."""
    ports: dict[str, int] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        credentials = folder / "credentials"
        credentials.write_text("".join(f"{basic(user)}\n" for user in settings.USERS))
        port = ports[BASELINE] = free_port()
        command = [sys.executable, str(HERE / "klein_app.py"), str(port)]
        stack.enter_context(running(command, port, options.server_core, folder / "klein.log"))
        for place, (name, over) in enumerate(OURS.items()):
            port = ports[name] = free_port()
            file = folder / f"{place}.yaml"
            file.write_text(json.dumps(settings.gateway(port, free_port(), **over)))
            file.chmod(0o600)
            command = [str(TWISTD), "-n", "--pidfile=", "authotron", "--config", str(file)]
            log = folder / f"{place}.log"
            stack.enter_context(running(command, port, options.server_core, log))
        rates: dict[str, list[float]] = {name: [] for name in ports}
        for turn in range(options.rounds + 1):
            for name, port in ports.items():
                rate = load(port, options, credentials)
                if turn:  # the first is for warming up
                    rates[name].append(rate)
                    print(f"{turn} {name}: {rate:,.0f}", file=sys.stderr)
        return rates


def basic(user: dict[str, str]) -> str:
    pair = f"{user['username']}:{user['password']}"
    return "Basic " + b64encode(pair.encode()).decode()


def summary(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and the ratio to the baseline of the same round."""
    told = {}
    for name, own in rates.items():
        ratios = [rate / base for rate, base in zip(own, rates[BASELINE], strict=True)]
        told[name] = {
            "rates": own,
            "median": statistics.median(own),
            "ratio": {
                "median": statistics.median(ratios),
                "min": min(ratios),
                "max": max(ratios),
            },
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each round and server")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--server-core", default="0")
    parser.add_argument("--client-core", default="1")
    parser.add_argument("--json", type=Path, default=Path("var/bench.json"))
    options = parser.parse_args()
    for command in ("wrk", "taskset"):
        if shutil.which(command) is None:
            sys.exit(f"needs {command}: apt-get install wrk util-linux")
    told = summary(measure(options))
    print(f"{'':14} {'requests/s':>10}   x {BASELINE} (min-max)")
    for name, each in told.items():
        ratio = each["ratio"]
        spread = f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"
        print(f"{name:14} {each['median']:10,.0f}   {spread}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
