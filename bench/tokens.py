"""
Measure API tokens: cached ones beside passwords, and look-ups in each store.

Prints for each store how many remembered tokens are answered for every remembered password, on the
same gateway in turns; how many are looked up a second where nothing is remembered; and how much
longer a wrong secret of a token that exists takes than a token that does not exist (T50).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fleet
import load
import servers
import settings
from contest import spread

from authotron.model.token import checksum, generate

SERVERS = Path(__file__).resolve().parents[1] / "tests/servers"
QUESTIONS = 2_000


def stores(folder: Path, stack: ExitStack) -> dict[str, dict[str, Any]]:
    """Every kind, with servers of their own for those that need one."""
    ports = {kind: served(kind, folder, stack) for kind in ("redis", "mongo")}
    mongo = {"uri": f"mongodb://127.0.0.1:{ports['mongo']}", "database": "bench"}
    return {
        "memory": {"type": "memory"},
        "sqlite": {"type": "sqlite", "path": str(folder / "tokens.db")},
        "redis": {"type": "redis", "port": ports["redis"]},
        "mongo": {"type": "mongo", **mongo},
    }


def served(kind: str, folder: Path, stack: ExitStack) -> int:
    """The port of a server that was started for this run, and ends with it."""
    port, script = servers.free_port(2), str(SERVERS / kind)
    for verb in (["install", str(folder)], ["start", str(folder), str(port)]):
        subprocess.run([script, *verb], check=True, stdout=subprocess.DEVNULL)
    stack.callback(subprocess.run, [script, "stop", str(folder)], check=True)
    return port


def forged(token: str) -> str:
    """Another secret under the id of a token, with a checksum that is good."""
    scheme, _, text = token.partition(" ")
    other = generate(0).text
    begin = text[: text.rindex("_") + 1] + other[other.rindex("_") + 1 : -6]
    return f"{scheme} {begin}{checksum(begin)}"


def slower(port: int, real: str) -> float:
    """The median time of a wrong secret over that of an unknown id, asked in turns."""
    took: tuple[list[float], list[float]] = ([], [])
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(QUESTIONS):
        for times, token in zip(took, (forged(real), f"Bearer {generate(0).text}"), strict=True):
            began = time.perf_counter()
            connection.request("GET", "/authenticate", headers={"Authorization": token})
            connection.getresponse().read()
            times.append(time.perf_counter() - began)
    connection.close()
    return statistics.median(took[0]) / statistics.median(took[1])


def made(port: int) -> list[str]:
    """A token of each user, as the value of C{Authorization}."""
    found = []
    for user in settings.USERS:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Authorization": fleet.basic(user), "Content-Type": "application/json"}
        connection.request("POST", "/tokens", "{}", headers)
        found.append(f"Bearer {json.loads(connection.getresponse().read())['token']}")
        connection.close()
    return found


def measured(name: str, store: dict[str, Any], options: argparse.Namespace, folder: Path) -> None:
    """One store, warm and cold."""
    passwords, listed = folder / "passwords", folder / f"{name}-tokens"
    passwords.write_text("".join(f"{fleet.basic(user)}\n" for user in settings.USERS))
    how = load.Load(passwords, options.seconds, options.connections, core=options.client_core)
    ratios, cold, wrong = [], 0.0, 0.0
    for over in ({}, {"auth": {"cache": {"ttl": 0}}}):
        port, file = servers.free_port(), folder / f"{name}.yaml"
        content = settings.gateway(port, servers.free_port(), store=store, **over)
        file.write_text(json.dumps(content))
        file.chmod(0o600)
        command = [str(servers.AUTHOTRON), "run", "--config", str(file)]
        server = servers.running(command, port, options.server_core, folder / "log")
        with ExitStack() as stack:
            process = stack.enter_context(server)
            real = made(port)
            listed.write_text("".join(f"{token}\n" for token in real))
            if over:
                cold = load.wrk(port, process, how.but(credentials=listed))["rate"]
                wrong = slower(port, real[0])
                continue
            for turn in range(options.rounds + 1):
                plain = load.wrk(port, process, how)["rate"]
                warm = load.wrk(port, process, how.but(credentials=listed))["rate"]
                if turn:  # the first is for warming up
                    ratios.append(warm / plain)
    print(
        f"{name:8} warm x password {spread(ratios)}, cold {cold:,.0f} look-ups/s, "
        f"wrong secret x unknown id {wrong:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--server-core", default="0")
    parser.add_argument("--client-core", default="1")
    options = parser.parse_args()
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        for store, section in stores(folder, stack).items():
            measured(store, section, options, folder)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
