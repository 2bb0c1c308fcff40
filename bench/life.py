"""Contests of credentials, memory and the start of a process."""

from __future__ import annotations

import re
import time
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
        "JWT": fleet.direct(gateway, how.but(credentials=jwt_file(fleet, 10))),
        "API tokens": fleet.direct(gateway, how.but(credentials=_token_file(fleet, gateway))),
    }


def new_credentials(fleet: Fleet) -> dict[str, Measure]:
    """Compare the versions with JSON Web Tokens and API tokens that must be verified anew."""
    how, file = fleet.polite_load(fleet.options.server_core), jwt_file(fleet, 10)
    entrants: dict[str, Measure] = {}
    gateways = fleet.gateways("all kinds, cold", auth=ONE_DECISION, **ALL_KINDS)
    for name, gateway in gateways.items():
        entrants[f"JWT, {name}"] = fleet.direct(gateway, how.but(credentials=file))
    for name, gateway in gateways.items():
        tokens = _token_file(fleet, gateway)
        entrants[f"API token, {name}"] = fleet.direct(gateway, how.but(credentials=tokens))
    return entrants


def jwt_file(fleet: Fleet, count: int) -> Any:
    """Write a file with one JSON Web Token for each of so many users."""
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
    file = jwt_file(fleet, MANY)
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
