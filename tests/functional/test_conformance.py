"""The recorded conversations with the original, played against the real daemon."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.functional.daemon import TWISTD, environment
from tests.functional.databases import shared

RUNNER = Path(__file__).resolve().parents[1] / "conformance/run.py"
MINUTES = 10

MISSING = (
    "ecmwf-api",
    "ecmwf-token-generator",
    "efas-api",
    "jwt",
    "ldap",
    "openid-offline",
)
"""Types of parts that may not be there yet; as long as one is not, cases that name it may differ."""


@frozen
class Case:
    """What the runner says about one case."""

    verdict: str
    name: str
    problems: str

    @property
    def awaits(self) -> str | None:
        """The type of a part without which it cannot be played."""
        found = re.search(r"there is no type '([\w-]+)' of", self.problems)
        return found[1] if found and found[1] in MISSING else None


def cases(told: str) -> list[Case]:
    """The cases in the runner's output; what differs is indented, or follows a line of its own."""
    parts = re.split(r"^(ok  |FAIL|skip) (\S+): ", told, flags=re.MULTILINE)
    return [
        Case(verdict.strip(), name, problems)
        for verdict, name, problems in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    ]


class ConformanceTests(SynchronousTestCase):
    """Whatever the original was recorded to answer, or we have decided to answer instead."""

    def test_cases(self) -> None:
        """Every case agrees for which we have the parts."""
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
        played = cases(done.stdout)
        self.assertGreater(len(played), 50, done.stdout + done.stderr)
        differ = [case for case in played if case.verdict == "FAIL" and not case.awaits]
        self.assertEqual([case.name for case in differ], [], "".join(c.problems for c in differ))
