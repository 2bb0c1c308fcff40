"""C{make demo}: a gateway, a backend and nginx in one command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.waiting import TEST_TIMEOUT

SCRIPT = Path(__file__).parents[2] / "examples" / "demo.py"


class DemoTests(SynchronousTestCase):
    """The script that C{make demo} runs, without the wait at its end."""

    def test_three_answers(self) -> None:
        """The demo shows two refusals and one success with the claims, and stops everything."""
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "--once"],
            capture_output=True,
            check=False,
            text=True,
            timeout=TEST_TIMEOUT,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        answers = [line for line in done.stdout.splitlines() if line.startswith("HTTP/1.1 ")]
        self.assertEqual([each.split()[1] for each in answers], ["401", "401", "200"])
        self.assertIn('"sub": "local-alice"', done.stdout)
