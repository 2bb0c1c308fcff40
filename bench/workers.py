"""Contests of several workers: what a request costs, and how evenly connections are distributed."""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import load
import servers
import settings
from contest import Measure
from fleet import Fleet, Server, Version, basic
from load import Figures, Load

FAIR = 0.35
"""The smallest share of the connections that is fair, of two workers."""


def workers(fleet: Fleet) -> dict[str, Measure]:
    """
    Compare one worker with two workers that have twice the load, or only the load of one wrk.

    Under twice the load each worker has as much to do as the single one: each core has one worker
    and one wrk. Otherwise one wrk shares both cores with two workers, which are often idle.
    """
    first, second = fleet.options.server_core, fleet.options.client_core
    both, entrants = f"{first},{second}", {}
    one, other = (fleet.polite_load(core) for core in (first, second))
    for name, version in fleet.versions.items():
        single, pair = (_gateway(fleet, version, count) for count in (1, 2))
        entrants[f"{name}, 1"] = _under(single, [first], one)
        entrants[f"{name}, 2"] = _with_shares(_under(pair, [first, second], one, other), pair)
        entrants[f"{name}, 2, one wrk"] = _under(pair, [both, both], fleet.polite_load(both))
    return entrants


def _gateway(fleet: Fleet, version: Version, count: int) -> Server:
    cores = f"{fleet.options.server_core},{fleet.options.client_core}"
    return fleet.gateway(version, f"workers {count}", core=cores, server={"workers": count})


def _under(gateway: Server, cores: Sequence[str], *loads: Load) -> Measure:
    """Return the measurement of a gateway each of whose workers runs on the given cores."""

    def measured(seconds: float) -> Figures:
        for worker, its_cores in zip(_workers(gateway), cores, strict=True):
            servers.pin(worker, its_cores)
        timed = [each.but(seconds=seconds) for each in loads]
        return load.wrk(gateway.port, gateway.process, *timed)

    return measured


def _workers(gateway: Server) -> list[int]:
    """Return the worker processes; a gateway with one worker has no supervisor."""
    return servers.family(gateway.process)[1:] or [gateway.process]


def _with_shares(measure: Measure, gateway: Server) -> Measure:
    """Add the smallest share of the requests that one worker has, near the end of the time."""

    def measured(seconds: float) -> Figures:
        shares: list[float] = []
        timer = threading.Timer(seconds * 0.8, lambda: shares.append(smallest_share(gateway)))
        timer.start()
        figures = measure(seconds)
        timer.join()
        return {**figures, "share": shares[0]}

    return measured


def bursts(fleet: Fleet) -> dict[str, Measure]:
    """Open 64 connections at once, again and again, to gateways with two workers."""
    entrants = {}
    for name, version in fleet.versions.items():
        gateway = _gateway(fleet, version, 2)
        ways: dict[str, tuple[socket.AddressFamily, Any]] = {
            "TCP": (socket.AF_INET, ("127.0.0.1", gateway.port)),
            "UNIX": (socket.AF_UNIX, str(gateway.socket)),
        }
        for kind, (family, address) in ways.items():
            entrants[f"{name}, {kind}"] = _bursts(gateway, family, address)
    return entrants


def _bursts(gateway: Server, family: socket.AddressFamily, address: Any) -> Measure:
    def measured(seconds: float) -> Figures:
        until = time.monotonic() + seconds
        shares: list[float] = []
        while not shares or time.monotonic() < until:
            shares.append(_share_of_a_burst(gateway, family, address))
        fair = sum(each >= FAIR for each in shares) / len(shares)
        return {"share": statistics.median(shares), "fair": fair}

    return measured


def _share_of_a_burst(gateway: Server, family: socket.AddressFamily, address: Any) -> float:
    """Open connections at once, send a request on each, and return the smallest share."""
    workers = _workers(gateway)

    def descriptors() -> list[int]:
        return [servers.descriptors(each) for each in workers]

    before = descriptors()
    opened = [load.connect(family, address) for _ in range(64)]
    for each in opened:
        each.sendall(load.head("/authenticate", basic(settings.USERS[0])))
    for each in opened:
        load.read_answer(each)
    found = [after - less for after, less in zip(descriptors(), before, strict=True)]
    for each in opened:
        each.close()
    until = time.monotonic() + servers.STARTING
    while descriptors() != before:
        if time.monotonic() > until:
            sys.exit("connections that the client has closed stay open")
        time.sleep(0.001)
    return min(found) / sum(found)


def smallest_share(gateway: Server) -> float:
    """
    Return the smallest share that a worker has of the bytes that arrived on open connections.

    All requests have the same size, so that is the share of requests.
    """
    command = ["ss", "-tniHOp", "state", "established", f"sport = :{gateway.port}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    received: Counter[str] = Counter(dict.fromkeys(map(str, _workers(gateway)), 0))
    for process, count in re.findall(r"pid=(\d+).*bytes_received:(\d+)", output):
        received[process] += int(count)
    return min(received.values()) / (sum(received.values()) or 1)
