"""Attribute the processor time of a request without a cached decision to parts of the program."""

from __future__ import annotations

import marshal
import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import load
import servers
import settings
from contest import Measure
from direct import ONE_DECISION
from fleet import Fleet, Version
from load import Figures

SECONDS = 4
REACTOR = "the reactor"

Function = tuple[str, int, str]
"""A function as the profiler names it: file, line, name."""


def shares(fleet: Fleet) -> dict[str, Measure]:
    """
    Profile a gateway for some seconds.

    One profile contains the shares of all parts, so every round repeats its figures.
    """
    by_part = _profile(fleet, fleet.versions["epoll"])
    return {part: _constant(figures) for part, figures in by_part.items()}


def _constant(figures: Figures) -> Measure:
    return lambda _: figures


def _profile(fleet: Fleet, version: Version) -> dict[str, Figures]:
    """Run a gateway under the profiler that twistd has, and return the figures of each part."""
    port, output = servers.free_port(), fleet.folder / "profile"
    content = settings.gateway(port, servers.free_port(), auth=ONE_DECISION)
    file, log = fleet.write(f"{port}.yaml", content), fleet.folder / f"{port}.log"
    profiled = ["--nodaemon", "--pidfile=", "--profile", str(output), "--savestats"]
    command = [*version.environ, str(servers.TWISTD), *profiled]
    command += ["authotron", "--config", str(file)]
    with servers.running(command, port, fleet.options.server_core, log) as process:
        how = fleet.load().but(seconds=SECONDS)
        requests = load.wrk(port, process, how)["rate"] * SECONDS
    return _by_part(output, requests)


def _by_part(profile: Path, requests: float) -> dict[str, Figures]:
    functions: dict[Function, Any] = marshal.loads(profile.read_bytes())
    times: defaultdict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()

    @cache
    def parts_of(function: Function) -> tuple[tuple[str, float], ...]:
        """
        Return the parts that a function belongs to, with weights.

        A function of the standard library belongs to the parts that call it.
        """
        if part := _part(function[0]):
            return ((part, 1.0),)
        mixed: defaultdict[str, float] = defaultdict(float)
        for caller, (_, _, own, _) in functions[function][4].items():
            part = _part(caller[0]) or REACTOR
            mixed[part] += own or 1e-9
        total = sum(mixed.values()) or 1
        return tuple((part, weight / total) for part, weight in mixed.items())

    for function, (_, count, own, _, _) in functions.items():
        for part, weight in parts_of(function):
            times[part] += own * weight
        if part := _part(function[0]):
            calls[part] += count
    whole = sum(times.values())
    return {
        part: {"share": own / whole, "calls": calls[part] / requests}
        for part, own in sorted(times.items(), key=lambda each: -each[1])[:9]
    }


def _part(file: str) -> str:
    """Return the package of authotron that a file belongs to, or the reactor, or nothing."""
    if found := re.search(r"/authotron/(\w+)/", file):
        return found[1]
    return REACTOR if "/twisted/" in file else ""
