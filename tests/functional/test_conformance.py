"""The recorded conversations with the original, played against the real daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.daemon import TWISTD, environment
from tests.functional.databases import shared

RUNNER = Path(__file__).resolve().parents[1] / "conformance/run.py"
MINUTES = 10


class ConformanceTests(SynchronousTestCase):
    """Whatever the original was recorded to answer, or we have decided to answer instead."""

    def test_cases(self) -> None:
        """Every case agrees."""
        command = f"{TWISTD} -n --pidfile= authotron --config {{config}}"
        mongo = shared("mongo").section["uri"]
        done = subprocess.run(
            [sys.executable, str(RUNNER), "--command", command, "--mongo", mongo],
            capture_output=True,
            check=False,
            cwd=RUNNER.parent,
            env=environment(),
            text=True,
            timeout=60 * MINUTES,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
