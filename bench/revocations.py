"""Contests of revocations: a gateway without revocation, and one with 10,000 revocations."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import settings
from bars import MANY_REVOCATIONS, NO_REVOCATIONS
from contest import Measure
from direct import ONE_DECISION
from fleet import Fleet, Server, basic
from life import ALL_KINDS, jwt_file

COUNT, EXPRESSIONS = 10_000, 100
"""How many revocations name a token or an owner, and how many have a claims expression."""
ADMINS = {settings.REALM: ["writer"]}
"""The roles of users who may revoke the credentials of others."""


def warm(fleet: Fleet) -> dict[str, Measure]:
    """Compare gateways that have cached the decisions about ten JSON Web Tokens."""
    return _measures(fleet, "warm")


def cold(fleet: Fleet) -> dict[str, Measure]:
    """Compare gateways that have not cached the decision."""
    return _measures(fleet, "cold", auth=ONE_DECISION)


def _measures(fleet: Fleet, kind: str, **sections: Any) -> dict[str, Measure]:
    how = fleet.load().but(credentials=jwt_file(fleet, 10))
    entrants: dict[str, Measure] = {}
    sections_of: dict[str, dict[str, Any]] = {
        NO_REVOCATIONS: {},
        MANY_REVOCATIONS: {"revocation": {}},
    }
    for name, section in sections_of.items():
        place = f"revocations {name}, {kind}"
        store = {"type": "sqlite", "path": str(fleet.folder / f"{place}.db"), "admins": ADMINS}
        over = {**ALL_KINDS, "store": store, **section, **sections}
        gateway = fleet.gateway(fleet.fastest, place, **over)
        if section:
            _revoke(gateway)
        entrants[name] = fleet.direct(gateway, how)
    return entrants


def _revoke(gateway: Server) -> None:
    """Make all revocations, none of which concerns a client of the benchmark."""
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    headers = {"Authorization": basic(settings.USERS[0]), "Content-Type": "application/json"}
    for each in _revocations():
        connection.request("POST", "/revocations", json.dumps(each), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 201:
            sys.exit(f"revocation {each} was answered with {answer.status}: {text!r}")
    connection.close()


def _revocations() -> Iterator[dict[str, str]]:
    for number in range(COUNT // 2):
        yield {"token_id": f"token-{number}"}
        yield {"realm": "web", "username": f"former-{number}"}
    for number in range(EXPRESSIONS):
        yield {"claims": f'"team-{number}" in claims.role'}
