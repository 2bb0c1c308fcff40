"""The limit of open files, and the share of it for connections to remote services."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from typing import Any

OWN_FILES = 40
"""Files reserved for the process: logs, listeners, pipes, store, host name lookups."""

_SHARE_OF_REMOTES = 8
"""Connections to remotes may take an eighth of the file limit."""

LimitConnections = Callable[[int], int]
"""
A function that returns how many connections a configuration section may open, given how many the
section asks for.
"""


def file_limit() -> int | None:
    """Return how many files the process may open (C{LimitNOFILE}), or C{None} if unlimited."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return files if files >= 0 else None


def as_configured(connections: int) -> int:
    """Set no limit: each configuration section may open as many connections as it asks for."""
    return connections


def count_connections(
    sections: Iterable[Any], limit_connections: LimitConnections = as_configured
) -> int:
    """
    Count the connections to remote services that the plugins of these sections may have open at
    once.
    """
    asked = (getattr(section, "count_connections", None) for section in sections)
    return sum(count(limit_connections) for count in asked if count is not None)


def connection_limiter(sections: Iterable[Any]) -> LimitConnections:
    """
    Build a limit that reduces the connections of all sections if they exceed 1/8 of
    the file limit.
    """
    files, wanted = file_limit(), count_connections(sections)
    possible = wanted if files is None else files // _SHARE_OF_REMOTES
    if wanted <= possible:
        return as_configured
    return lambda connections: max(1, connections * possible // wanted)
