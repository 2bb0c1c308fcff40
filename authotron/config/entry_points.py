"""
Read the entry points of installed packages, and cache them until a package is
installed or removed.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """
    Return the entry points of a group, of all installed packages.

    The metadata of all packages is read once for each group, because that takes milliseconds, and
    again when the list of import paths changes, or when a package is installed in one of the paths
    or removed.
    """
    folders = tuple((folder, _changed(folder)) for folder in sys.path)
    return _read(group, folders)


@lru_cache(maxsize=8)
def _read(group: str, _folders: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    return tuple(metadata.entry_points(group=group))


def _changed(folder: str) -> int:
    """
    Return when an entry of a folder was last added or removed, in nanoseconds; 0 if there is no
    such folder.
    """
    try:
        return Path(folder or ".").stat().st_mtime_ns
    except OSError:
        return 0
