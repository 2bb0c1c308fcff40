"""Contests of policies: one gateway without policies, one with 1,000, and one with 100,000."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bars import MANY_POLICIES, NO_POLICIES, SOME_POLICIES
from contest import Measure
from direct import ONE_DECISION
from fleet import Fleet, Server

COUNTS = {NO_POLICIES: 0, SOME_POLICIES: 1_000, MANY_POLICIES: 100_000}
TRUSTED = {"trusted_proxies": ["127.0.0.1/32"]}
FOR_USERS = 20
"""One policy in so many is about the users of the benchmark; the others are about teams."""
TEAMS = 499


def warm(fleet: Fleet) -> dict[str, Measure]:
    """Compare by heads that the fast path recognises: only C{X-Request-ID} is new in each."""
    return _measures(fleet, _gateways(fleet, COUNTS), "nginx")


def new_uris(fleet: Fleet) -> dict[str, Measure]:
    """Compare by heads with a new URI each, so that the policies are applied anew."""
    return _measures(fleet, _gateways(fleet, COUNTS), "nginx, new")


def cold(fleet: Fleet) -> dict[str, Measure]:
    """Compare gateways that have not cached the decision."""
    counts = (NO_POLICIES, SOME_POLICIES)
    return _measures(fleet, _gateways(fleet, counts, auth=ONE_DECISION), "nginx")


def _gateways(fleet: Fleet, counts: Any, **sections: Any) -> dict[str, Server]:
    kind = "cold" if sections else "warm"
    return {
        name: fleet.gateway(
            fleet.fastest,
            f"policies {name}, {kind}",
            server=TRUSTED,
            **_section(fleet, COUNTS[name]),
            **sections,
        )
        for name in counts
    }


def _section(fleet: Fleet, count: int) -> dict[str, Any]:
    """Return the section C{policy} of a configuration, which names a file of rules."""
    if not count:
        return {}
    file = fleet.folder / f"{count}-rules.yaml"
    if not file.exists():
        file.write_text(json.dumps({"rules": [*map(_rule, range(count))]}))
    return {"policy": {"files": [str(file)]}}


def _rule(number: int) -> dict[str, Any]:
    is_for_users = number % FOR_USERS == 0
    team = ["realm=local", f"role=team-{number % TEAMS}"]
    return {
        "name": f"rule-{number}",
        "subject": [["role=reader"] if is_for_users else team],
        "permissions": [*_permissions(f"/archive/data-{number}")],
    }


def _permissions(path: str) -> Iterator[str]:
    yield f"{path}/**:GET,HEAD"
    yield f"-{path}/*/private/**:*"


def _measures(fleet: Fleet, among: dict[str, Server], heads: str) -> dict[str, Measure]:
    how = fleet.load().but(heads=heads, method="HEAD")
    return {name: fleet.direct(server, how) for name, server in among.items()}
