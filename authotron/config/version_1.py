"""Convert a configuration of version 1.0.0, which has C{bind_address}, to version 2.0.0."""

from __future__ import annotations

import re
from typing import Any

from authotron.model.errors import Problem

_METRICS_PORT = 9090

_MOST_DIGITS = 20
"""Maximum number of characters of a port in C{bind_address}, leading zeros included."""


_ANY_PORT = 8080
"""
A value that takes the place of the port of an address that cannot be read, so that the check
continues and finds further problems.
"""


def as_version_2(given: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[Problem]]:
    """
    Return a configuration in version 2.0.0, with warnings about what version 1.0.0 cannot express,
    and problems: an unknown version, or keys that do not belong to this version.
    """
    version = given.get("version")
    if version == "2.0.0":
        return given, [], []
    if version != "1.0.0":
        return {**given, "version": "2.0.0"}, [], [Problem("version", _version_problem(version))]
    problems: list[Problem] = []
    newer = {key: value for key, value in given.items() if key != "bind_address"}
    newer["version"] = "2.0.0"
    warnings = ["version: 1.0.0 is the older format; consider version 2.0.0"]
    if newer.pop("metrics", None) is not None:
        warnings.append(f"metrics: ignored in version 1.0.0; metrics are on port {_METRICS_PORT}")
    if newer.pop("server", None) is not None:
        why = "belongs to version 2.0.0; version 1.0.0 has bind_address"
        problems.append(Problem("server", why))
    server = _server(given.get("bind_address"))
    if isinstance(server, str):
        problems.append(Problem("bind_address", server))
    newer["server"] = {"port": _ANY_PORT} if isinstance(server, str) else server
    return newer, warnings, problems


def _version_problem(version: object) -> str:
    if version is None:
        return 'is missing; write version: "2.0.0"'
    if not isinstance(version, str):
        return 'must be a string; write version: "2.0.0"'
    return "is unknown; known versions are 1.0.0 and 2.0.0"


def _server(bind_address: object) -> dict[str, Any] | str:
    """
    Return the section C{server} for C{HOST:PORT}, or why there is none; an IPv6 address may be in
    brackets.
    """
    if bind_address is None:
        return "is missing"
    host, _, port = str(bind_address).rpartition(":")
    is_port = re.fullmatch(r"\+?[0-9]+", port, re.ASCII) and len(port) <= _MOST_DIGITS
    if not (isinstance(bind_address, str) and host and is_port):
        return "must be host:port, such as 0.0.0.0:8080"
    return {"host": host.lstrip("[").rstrip("]"), "port": int(port)}
