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
def running(command: list[str], port: int, core: str, log: Path) -> Iterator[int]:
    """A server on a core, from when it answers; its process number."""
    pinned = ["taskset", "-c", core, *command]
    with log.open("wb") as output, subprocess.Popen(pinned, stdout=output, stderr=output) as server:
        try:
            until = time.monotonic() + 30
            while not listens(port):
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit(f"{command[0]} did not start:\n{log.read_text()}")
                time.sleep(0.05)
            yield server.pid
        finally:
            server.terminate()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def processor_time(process: int) -> float:
    """Seconds that a process has spent, by itself and in the kernel."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(
    port: int, process: int, options: argparse.Namespace, credentials: Path
) -> dict[str, float]:
    """What wrk measures in a round; an answer that is not 2xx spoils everything."""
    before = processor_time(process)
    command = ["taskset", "-c", options.client_core, "wrk", "-t1", f"-c{options.connections}"]
    command += [f"-d{options.seconds}s", "-s", str(HERE / "rotate.lua"), f"http://127.0.0.1:{port}"]
    environ = {**os.environ, "BENCH_CREDENTIALS": str(credentials)}
    told = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        sys.exit(f"port {port}:\n{told}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    count = re.search(r"(\d+) requests in", told)
    if rate is None or count is None:
        sys.exit(told)
    spent = (processor_time(process) - before) / int(count[1]) * 1e6
    return {"rate": float(rate[1]), "microseconds": spent}


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """For each server what every round gave."""
    servers: dict[str, tuple[int, int]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        credentials = folder / "credentials"
        credentials.write_text("".join(f"{basic(user)}\n" for user in settings.USERS))
        port = free_port()
        command = [sys.executable, str(HERE / "klein_app.py"), str(port)]
        server = running(command, port, options.server_core, folder / "klein.log")
        servers[BASELINE] = port, stack.enter_context(server)
        for place, (name, over) in enumerate(OURS.items()):
            port = free_port()
            file = folder / f"{place}.yaml"
            file.write_text(json.dumps(settings.gateway(port, free_port(), **over)))
            file.chmod(0o600)
            command = [str(TWISTD), "-n", "--pidfile=", "authotron", "--config", str(file)]
            log = folder / f"{place}.log"
            server = running(command, port, options.server_core, log)
            servers[name] = port, stack.enter_context(server)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for turn in range(options.rounds + 1):
            for name, (port, process) in servers.items():
                measured = load(port, process, options, credentials)
                if turn:  # the first is for warming up
                    rounds[name].append(measured)
                    print(f"{turn} {name}: {measured['rate']:,.0f}", file=sys.stderr)
        return rounds


def basic(user: dict[str, str]) -> str:
    pair = f"{user['username']}:{user['password']}"
    return "Basic " + b64encode(pair.encode()).decode()


def summary(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians, and how many times better than the baseline of the same round."""
    told: dict[str, Any] = {}
    for name, own in rounds.items():
        pairs = list(zip(own, rounds[BASELINE], strict=True))
        told[name] = {
            "rounds": own,
            "rate": statistics.median(each["rate"] for each in own),
            "microseconds": statistics.median(each["microseconds"] for each in own),
            "ratio": spread([mine["rate"] / base["rate"] for mine, base in pairs]),
            "ratio_of_processor_time": spread(
                [base["microseconds"] / mine["microseconds"] for mine, base in pairs]
            ),
        }
    return told


def spread(ratios: list[float]) -> dict[str, float]:
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def shown(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"


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
    line = "{:14} {:>10} {:>18} {:>9} {:>18}"
    print(line.format("", "requests/s", f"x {BASELINE} (min-max)", "CPU us", "x (min-max)"))
    for name, each in told.items():
        rate, spent = f"{each['rate']:,.0f}", f"{each['microseconds']:.0f}"
        of_time = shown(each["ratio_of_processor_time"])
        print(line.format(name, rate, shown(each["ratio"]), spent, of_time))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
