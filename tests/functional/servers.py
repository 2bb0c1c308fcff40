"""The scripts below F{tests/servers}, each of which installs, starts and stops a real server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "servers"


_PATIENCE = 900.0
"""Seconds that a script may take: at first it may install or build its server."""


def run(server: str, *words: str, wrapper: Sequence[str] = (), **environ: str) -> None:
    """
    Run the script of a server.

    @param wrapper: a command that starts another one.
    @raise AssertionError: it failed.
    @raise subprocess.TimeoutExpired: it takes too long.
    """
    done = subprocess.run(
        [*wrapper, str(SCRIPTS / server), *words],
        check=False,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    assert done.returncode == 0, done.stderr
