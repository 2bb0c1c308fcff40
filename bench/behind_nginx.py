"""Contests through nginx, which has one core for itself; servers and wrk share the other one."""

from __future__ import annotations

from collections.abc import Mapping

import proxy
from contest import Measure
from fleet import Fleet, Server
from proxy import Site

UNPROTECTED = "no authentication"
"""The entrant for which nginx sends no subrequest."""


def by_get(fleet: Fleet) -> dict[str, Measure]:
    """Compare by GET, the default of nginx, with a pool of 128 connections."""
    return _measures(fleet, "get", _plain_sites(fleet, "GET"))


def by_head(fleet: Fleet) -> dict[str, Measure]:
    """Compare by HEAD, as the shipped example asks, with a pool of 128 connections."""
    return _measures(fleet, "head", _plain_sites(fleet, "HEAD"))


def default(fleet: Fleet) -> dict[str, Measure]:
    """Compare by GET with a new connection for each subrequest, the default of nginx."""
    among = _rivals_and(fleet)
    sites = {name: (each, Site(each.address, "default")) for name, each in among.items()}
    return _measures(fleet, "default", sites)


def example(fleet: Fleet) -> dict[str, Measure]:
    """Compare the shipped example with other pools, over TCP and over a UNIX socket."""
    gateway = fleet.gateway(fleet.fastest)
    sites = {
        f"keepalive {pool}, {kind}": (gateway, Site(address, "example", pool=pool))
        for pool in (32, 128)
        for kind, address in (("TCP", gateway.address), ("UNIX", gateway.unix_address))
    }
    for name, server in fleet.rivals().items():
        sites[name] = server, Site(server.address, "example", pool=32)
    sites["subrequests cached"] = gateway, Site(gateway.address, "cached", pool=32)
    return _measures(fleet, "example", sites, way="example")


def _plain_sites(fleet: Fleet, method: str) -> dict[str, tuple[Server, Site]]:
    sites = {
        name: (server, Site(server.address, method=method))
        for name, server in fleet.rivals().items()
    }
    for name, server in fleet.gateways().items():
        sites[f"{name}, TCP"] = server, Site(server.address, method=method)
        sites[f"{name}, UNIX"] = server, Site(server.unix_address, method=method)
    return sites


def _rivals_and(fleet: Fleet) -> dict[str, Server]:
    return fleet.rivals() | {fleet.fastest.name: fleet.gateway(fleet.fastest)}


def _measures(
    fleet: Fleet, folder: str, sites: Mapping[str, tuple[Server, Site]], *, way: str = "plain"
) -> dict[str, Measure]:
    """Start nginx, and return the measurement of each site, that without authentication first."""
    server, _ = next(iter(sites.values()))
    without = {UNPROTECTED: (server, Site(server.address, way, is_protected=False))}
    complete = without | dict(sites)
    running = proxy.nginx(
        fleet.folder / folder,
        {name: site for name, (_, site) in complete.items()},
        fleet.options.server_core,
    )
    process, ports = fleet.stack.enter_context(running)
    how = fleet.load()
    return {
        name: fleet.behind(process, ports[name], server, how)
        for name, (server, _) in complete.items()
    }
