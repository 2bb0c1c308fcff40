"""Convert a configuration of version 1.0.0, which has C{bind_address}, to version 2.0.0."""

from __future__ import annotations

import re
from typing import Any

from authotron.model.errors import ConfigError, Problem

_METRICS_PORT = 9090

_MOST_DIGITS = 20
"""Maximum characters of a port in C{bind_address}, leading zeros included."""


def as_version_2(given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """
    Return a configuration in version 2.0.0, and warnings about what version 1.0.0 cannot say.

    @raise ConfigError: the version is unknown, or a key does not belong to this version.
    """
    version = given.get("version")
    if version == "2.0.0":
        return given, []
    if version != "1.0.0":
        raise ConfigError([Problem("version", _version_problem(version))])
    newer = {key: value for key, value in given.items() if key != "bind_address"}
    newer["version"] = "2.0.0"
    warnings = ["version: 1.0.0 is the older format; consider version 2.0.0"]
    if newer.pop("metrics", None) is not None:
        warnings.append(f"metrics: ignored in version 1.0.0; metrics are on port {_METRICS_PORT}")
    if "server" in newer:
        raise ConfigError(
            [Problem("server", "belongs to version 2.0.0; version 1.0.0 has bind_address")]
        )
    newer["server"] = _server(given.get("bind_address"))
    return newer, warnings


def _version_problem(version: object) -> str:
    if version is None:
        return 'is missing; write version: "2.0.0"'
    if not isinstance(version, str):
        return 'must be a string; write version: "2.0.0"'
    return "is unknown; known versions are 1.0.0 and 2.0.0"


def _server(bind_address: object) -> dict[str, Any]:
    """Return the section C{server} for C{HOST:PORT}; an IPv6 address may be in brackets."""
    if bind_address is None:
        raise ConfigError([Problem("bind_address", "is missing")])
    host, _, port = str(bind_address).rpartition(":")
    is_port = re.fullmatch(r"\+?[0-9]+", port, re.ASCII) and len(port) <= _MOST_DIGITS
    if not (isinstance(bind_address, str) and host and is_port):
        raise ConfigError([Problem("bind_address", "must be host:port, such as 0.0.0.0:8080")])
    return {"host": host.lstrip("[").rstrip("]"), "port": int(port)}
