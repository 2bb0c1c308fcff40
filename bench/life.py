"""Contests of credentials, workers, memory and the start of a process."""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import jwt
import load
import servers
import settings
from contest import Measure
from direct import ONE_DECISION
from fleet import Fleet, Server, Version, api_token, basic
from load import Figures, Load

MANY = 100_000
ISSUER = {"name": "jwt", "type": "jwt", "realm": "web", "issuer": "bench"}
ALL_KINDS: dict[str, Any] = {
    "providers": [
        *settings.PROVIDERS,
        {**ISSUER, "secret": settings.SECRET, "accepts": {"issuer": "bench"}},
    ],
    "store": {"type": "memory"},
}
"""Sections of a gateway that accepts passwords, JSON Web Tokens and API tokens."""
FAIR = 0.35
"""The smallest share of the connections that is fair, of two workers."""
FIRST_REQUESTS = 1000
"""The number of requests after which the memory of a new process is measured."""


def limited_tokens(fleet: Fleet) -> dict[str, Measure]:
    """Compare API tokens that are limited to a host with API tokens that are not."""
    how, entrants = fleet.load().but(host="api.example.org"), {}
    for version, gateway in fleet.gateways("API tokens", store={"type": "memory"}).items():
        for kind, limits in (("not limited", {}), ("limited", {"hosts": [how.host]})):
            name = f"{kind}, {version}"
            file = fleet.credentials(f"tokens {name}", _api_tokens(gateway, **limits))
            entrants[name] = _count_handovers(fleet, gateway, how.but(credentials=file))
    return entrants


def _count_handovers(fleet: Fleet, gateway: Server, how: Load) -> Measure:
    """Measure, and count the connections that the fast path hands over meanwhile."""
    measure = fleet.direct(gateway, how)

    def counted(seconds: float) -> Figures:
        before = _handovers(gateway)
        figures = measure(seconds)
        return {**figures, "handovers": _handovers(gateway) - before}

    return counted


def _handovers(gateway: Server) -> float:
    connection = HTTPConnection("127.0.0.1", gateway.metrics, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    [number] = re.findall(r"^authotron_front_handed\w+_total ([\d.e+]+)$", text, re.MULTILINE)
    return float(number)


def cached_credentials(fleet: Fleet) -> dict[str, Measure]:
    """Compare passwords, JSON Web Tokens and API tokens whose decisions are cached."""
    gateway = fleet.gateway(fleet.fastest, "all kinds, warm", **ALL_KINDS)
    how = fleet.load()
    return {
        "passwords": fleet.direct(gateway, how),
        "JWT": fleet.direct(gateway, how.but(credentials=_jwt_file(fleet, 10))),
        "API tokens": fleet.direct(gateway, how.but(credentials=_token_file(fleet, gateway))),
    }


def new_credentials(fleet: Fleet) -> dict[str, Measure]:
    """Compare the versions with JSON Web Tokens and API tokens that must be verified anew."""
    how, file, entrants = fleet.load(), _jwt_file(fleet, 10), {}
    gateways = fleet.gateways("all kinds, cold", auth=ONE_DECISION, **ALL_KINDS)
    for name, gateway in gateways.items():
        entrants[f"JWT, {name}"] = fleet.direct(gateway, how.but(credentials=file))
    for name, gateway in gateways.items():
        tokens = _token_file(fleet, gateway)
        entrants[f"API token, {name}"] = fleet.direct(gateway, how.but(credentials=tokens))
    return entrants


def _jwt_file(fleet: Fleet, count: int) -> Any:
    return fleet.credentials(f"jwt {count}", _json_web_tokens(count))


def _json_web_tokens(count: int) -> Iterator[str]:
    """Issue one JSON Web Token for each of so many users."""
    for number in range(count):
        claims = {"iss": "bench", "sub": f"person-{number}", "exp": 1 << 32}
        yield f"Bearer {jwt.encode(claims, settings.SECRET, 'HS256')}"


def _token_file(fleet: Fleet, gateway: Server) -> Any:
    return fleet.credentials(f"tokens {gateway.port}", _api_tokens(gateway))


def _api_tokens(gateway: Server, **limits: list[str]) -> list[str]:
    return [api_token(gateway.port, user, **limits) for user in settings.USERS]


def many_credentials(fleet: Fleet) -> dict[str, Measure]:
    """Measure gateways that have cached the decisions about 100,000 users."""
    file = _jwt_file(fleet, MANY)
    cache = {"size": 2 * MANY, "max_bytes": 1 << 30, "ttl": 3600}
    over = {**ALL_KINDS, "auth": {"cache": cache}}
    names = {"before", fleet.fastest.name} & set(fleet.versions)
    gateways = {
        name: fleet.gateway(fleet.versions[name], "many", core=core, **over)
        for name, core in zip(sorted(names), _cores(fleet), strict=False)
    }
    with ThreadPoolExecutor() as threads:  # the gateways are on different cores
        list(threads.map(lambda each: load.once(each.port, file), gateways.values()))
    how = fleet.load().but(credentials=file)
    return {name: fleet.direct(each, how) for name, each in gateways.items()}


def _cores(fleet: Fleet) -> tuple[str, str]:
    return fleet.options.server_core, fleet.options.client_core


def workers(fleet: Fleet) -> dict[str, Measure]:
    """Compare one worker with two; wrk shares the two cores with them."""
    cores = ",".join(_cores(fleet))
    how, entrants = fleet.load().but(core=cores), {}
    for name, version in fleet.versions.items():
        for count in (1, 2):
            server = {"workers": count}
            gateway = fleet.gateway(version, f"workers {count}", core=cores, server=server)
            measure = fleet.direct(gateway, how, cores=cores)
            entrants[f"{name}, {count}"] = _with_shares(measure, gateway) if count > 1 else measure
    return entrants


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
    cores, entrants = ",".join(_cores(fleet)), {}
    for name, version in fleet.versions.items():
        gateway = fleet.gateway(version, "workers 2", core=cores, server={"workers": 2})
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
    workers = servers.family(gateway.process)[1:]

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
    received: Counter[str] = Counter(
        dict.fromkeys(map(str, servers.family(gateway.process)[1:]), 0)
    )
    for process, count in re.findall(r"pid=(\d+).*bytes_received:(\d+)", output):
        received[process] += int(count)
    return min(received.values()) / (sum(received.values()) or 1)


def start(fleet: Fleet) -> dict[str, Measure]:
    """Compare how long a new process needs for its first answer, and its memory."""
    for version in fleet.versions.values():
        version.compile()
    return {name: _start(fleet, version) for name, version in fleet.versions.items()}


def _start(fleet: Fleet, version: Version) -> Measure:
    def measure(seconds: float) -> Figures:
        port, metrics = servers.free_port(), servers.free_port()
        file = fleet.write(f"{port}.yaml", settings.gateway(port, metrics))
        command, log = version.serve(file), fleet.folder / f"{port}.log"
        began = time.monotonic()
        with servers.running(command, port, fleet.options.server_core, log, pause=0.002) as process:
            milliseconds = (time.monotonic() - began) * 1000
            _send_first_requests(port)
            return {"start": milliseconds, "memory": servers.memory(process)}

    return measure


def _send_first_requests(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    for number in range(FIRST_REQUESTS):
        user = settings.USERS[number % len(settings.USERS)]
        connection.request("GET", "/authenticate", headers={"Authorization": basic(user)})
        connection.getresponse().read()
    connection.close()
