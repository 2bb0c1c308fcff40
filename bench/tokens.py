"""
How tokens of our own fare: remembered ones beside passwords, and look-ups in each store.

Prints for each store how many remembered tokens are answered for every remembered password, on the
same gateway in turns, and how many are looked up a second where nothing is remembered.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import load
import servers
import settings

import bench


def stores(folder: Path) -> dict[str, dict[str, Any]]:
    """Those that need no server, and those whose servers the environment names."""
    found: dict[str, dict[str, Any]] = {
        "memory": {"type": "memory"},
        "sqlite": {"type": "sqlite", "path": str(folder / "tokens.db")},
    }
    if redis := os.environ.get("AUTHOTRON_BENCH_REDIS_PORT"):
        found["redis"] = {"type": "redis", "port": int(redis), "prefix": f"bench-{os.getpid()}:"}
    if mongo := os.environ.get("AUTHOTRON_BENCH_MONGO"):
        found["mongo"] = {"type": "mongo", "uri": mongo, "database": f"bench_{os.getpid()}"}
    return found


def made(port: int) -> list[str]:
    """A token of each user, as the value of C{Authorization}."""
    tokens = []
    for user in settings.USERS:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Authorization": bench.basic(user), "Content-Type": "application/json"}
        connection.request("POST", "/tokens", "{}", headers)
        tokens.append(f"Bearer {json.loads(connection.getresponse().read())['token']}")
        connection.close()
    return tokens


def measured(name: str, store: dict[str, Any], options: argparse.Namespace, folder: Path) -> None:
    """One store, warm and cold."""
    passwords, tokens = folder / "passwords", folder / f"{name}-tokens"
    passwords.write_text("".join(f"{bench.basic(user)}\n" for user in settings.USERS))
    how = load.Load(passwords, options.seconds, options.connections, core=options.client_core)
    ratios, cold = [], 0.0
    for over in ({}, {"auth": {"cache": {"ttl": 0}}}):
        port, file = servers.free_port(), folder / f"{name}.yaml"
        content = settings.gateway(port, servers.free_port(), store=store, **over)
        file.write_text(json.dumps(content))
        file.chmod(0o600)
        command = [str(servers.TWISTD), "-n", "--pidfile=", "authotron", "--config", str(file)]
        server = servers.running(command, port, options.server_core, folder / "log")
        with ExitStack() as stack:
            process = stack.enter_context(server)
            tokens.write_text("".join(f"{token}\n" for token in made(port)))
            if over:
                cold = load.wrk(port, process, how.but(credentials=tokens))["rate"]
                continue
            for turn in range(options.rounds + 1):
                plain = load.wrk(port, process, how)["rate"]
                warm = load.wrk(port, process, how.but(credentials=tokens))["rate"]
                if turn:  # the first is for warming up
                    ratios.append(warm / plain)
    told = bench.shown(bench.spread(ratios))
    print(f"{name:8} warm x password {told}, cold {cold:,.0f} look-ups/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--server-core", default="0")
    parser.add_argument("--client-core", default="1")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        for store, section in stores(folder).items():
            measured(store, section, options, folder)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
