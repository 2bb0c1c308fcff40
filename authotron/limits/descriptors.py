"""The files that the process may have open, and the share of them for connections to remotes."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from typing import Any

OWN = 40
"""Files of the process itself: logs, listeners, pipes, the store, host name lookups."""

_SHARE_OF_REMOTES = 8
"""Connections to remotes may be an eighth of the files."""

Narrow = Callable[[int], int]
"""Returns how many connections a section gets that asks for so many."""


def most_files() -> int | None:
    """The files that the process may have open (C{LimitNOFILE}); C{None} without a limit."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return files if files >= 0 else None


def as_configured(connections: int) -> int:
    """Give a section as many connections as it asks for."""
    return connections


def outward(sections: Iterable[Any], narrow: Narrow = as_configured) -> int:
    """Count the connections to remotes that the parts of some sections may have at once."""
    asked = (getattr(section, "outward", None) for section in sections)
    return sum(count(narrow) for count in asked if count is not None)


def narrowing(sections: Iterable[Any]) -> Narrow:
    """Scale all sections down alike if together they ask for more than an eighth of the files."""
    files, wanted = most_files(), outward(sections)
    possible = wanted if files is None else files // _SHARE_OF_REMOTES
    if wanted <= possible:
        return as_configured
    return lambda connections: max(1, connections * possible // wanted)
