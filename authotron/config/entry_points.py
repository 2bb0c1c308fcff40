"""Read the entry points of installed packages, and keep them until a package comes or goes."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """
    Return the entry points of a group, of all installed packages.

    The metadata of all packages is read once for a group, as that takes milliseconds, and again
    when the list of import paths changes, or when a package is installed in one of them or removed.
    """
    folders = tuple((folder, _changed(folder)) for folder in sys.path)
    return _read(group, folders)


@lru_cache(maxsize=8)
def _read(group: str, _folders: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    return tuple(metadata.entry_points(group=group))


def _changed(folder: str) -> int:
    """Return when a folder last got or lost an entry, in nanoseconds; 0 without such a folder."""
    try:
        return Path(folder or ".").stat().st_mtime_ns
    except OSError:
        return 0
