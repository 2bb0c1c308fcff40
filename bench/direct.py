"""Contests without a proxy: each server has one core, and wrk usually has the other one."""

from __future__ import annotations

from typing import Any

from contest import Measure
from fleet import Fleet, Server

ONE_DECISION: dict[str, Any] = {"cache": {"size": 1}}
"""The section C{auth} of a gateway that decides anew, because ten users take turns."""


def _measures(fleet: Fleet, among: dict[str, Server], **changes: Any) -> dict[str, Measure]:
    how = fleet.load().but(**changes)
    return {name: fleet.direct(server, how) for name, server in among.items()}


def warm(fleet: Fleet) -> dict[str, Measure]:
    """Compare all servers by GET; the gateways have cached the decisions about ten users."""
    return _measures(fleet, fleet.rivals() | fleet.gateways())


def warm_by_head(fleet: Fleet) -> dict[str, Measure]:
    """
    Compare the gateways by HEAD.

    wrk waits for a body that a HEAD answer announces, so the original cannot take part.
    """
    return _measures(fleet, fleet.gateways(), method="HEAD")


def request_ids(fleet: Fleet) -> dict[str, Measure]:
    """Compare with a new C{X-Request-ID} in each head, as the shipped nginx example sends it."""
    return _measures(fleet, _with_original(fleet), heads="request id")


def new_heads(fleet: Fleet) -> dict[str, Measure]:
    """Compare with heads of 13 fields, among them a new URI: none is sent twice."""
    return _measures(fleet, _with_original(fleet), heads="new")


def facts(fleet: Fleet) -> dict[str, Measure]:
    """
    Compare one gateway with itself: asked at C{/authenticate}, where no header is judged, and by
    the contract of Traefik, which requires some. Each head is new, as in L{new_heads}.
    """
    gateway, how = fleet.gateway(fleet.fastest), fleet.load().but(heads="new")
    return {
        name: fleet.direct(gateway, how.but(path=path))
        for name, path in (("without", "/authenticate"), ("by contract", "/auth/traefik"))
    }


def new_connections(fleet: Fleet) -> dict[str, Measure]:
    """Compare with a new connection for each request."""
    return _measures(fleet, fleet.rivals() | fleet.gateways(), close=True)


def cold(fleet: Fleet) -> dict[str, Measure]:
    """Compare gateways that have not cached the decision with plain Klein, which never has."""
    klein, how = {"Klein": fleet.rivals()["Klein"]}, fleet.polite_load(fleet.options.server_core)
    among = klein | fleet.gateways("cold", auth=ONE_DECISION)
    return {name: fleet.direct(server, how) for name, server in among.items()}


def over_unix(fleet: Fleet) -> dict[str, Measure]:
    """Compare the gateways over a UNIX socket, with kept and with new connections."""
    ways = {"kept": fleet.load(), "new": fleet.load().but(close=True)}
    return {
        f"{name}, {word}": fleet.over_unix(server, how)
        for word, how in ways.items()
        for name, server in fleet.gateways().items()
    }


def connections(fleet: Fleet) -> dict[str, Measure]:
    """Compare numbers of kept connections."""
    gateway, how = fleet.gateway(fleet.fastest), fleet.load()
    return {
        str(count): fleet.direct(gateway, how.but(connections=count))
        for count in (64, 1, 8, 256, 1000)
    }


def odd_requests(fleet: Fleet) -> dict[str, Measure]:
    """Compare with and without one request in a hundred that the fast path does not answer."""
    gateway, how = fleet.gateway(fleet.fastest), fleet.load()
    return {
        name: fleet.direct(gateway, how.but(odd=odd))
        for name, odd in (("none", 0), ("one in a hundred", 100))
    }


def half_load(fleet: Fleet) -> dict[str, Measure]:
    """Measure how long answers take at half of the maximum load."""
    gateway, how = fleet.gateway(fleet.fastest), fleet.load()
    most = fleet.direct(gateway, how)(1)["rate"]
    return {"half load": fleet.direct(gateway, how.but(pace=most / 2, connections=128))}


def _with_original(fleet: Fleet) -> dict[str, Server]:
    original = {name: each for name, each in fleet.rivals().items() if name == "original"}
    return original | fleet.gateways()
