"""The fake gateway, held against the recorded conversations that the gateway is held against."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from tests.backends.wheels import ROOT, SECONDS

RUNNER = ROOT / "tests" / "conformance" / "run.py"
SAME = (
    "header-one-scheme",
    "minted-audience",
    "minted-audience-on-demand",
    "no-providers",
    "plain-two-realms",
    "plain-users",
    "routes-no-metrics",
)
"""Cases in which the fake gateway answers each exchange as the gateway does."""

OTHERWISE = re.compile(
    r"augmenters|token|POST /$|OPTIONS /$|the icon|challenge names every realm|providers are listed"
    r"|request line|version|without a colon|lengths|no request at all"
)
"""Exchanges of the case C{routes} about what a fake gateway does not have, or about broken HTTP."""


@cache
def differing() -> Mapping[str, frozenset[str]]:
    """The names of the exchanges that do not agree, by case."""
    command = f"env PYTHONPATH={ROOT} {sys.executable} -m tests.backends.fake_command {{config}}"
    cases = [word for case in (*SAME, "routes") for word in ("--case", case)]
    done = subprocess.run(
        [sys.executable, str(RUNNER), "--command", command, *cases],
        capture_output=True,
        check=False,
        cwd=RUNNER.parent,
        text=True,
        timeout=SECONDS,
    )
    assert re.search(r"(?m)^\d+ cases, \d{2,} exchanges", done.stdout), done.stdout + done.stderr
    found = re.findall(
        r"^(?:FAIL|ok  ) \S+?/(\S+):.*\n((?:(?!ok  |FAIL ).*\n)*)", done.stdout, re.MULTILINE
    )
    return {
        case: frozenset(re.findall(r"^ {7}(\S.*)$", below, re.MULTILINE)) for case, below in found
    }


class ConformanceTests(SynchronousTestCase):
    """What services are tested with behaves as what they run behind."""

    def test_cases(self) -> None:
        """Logins, headers, realms, challenges and JWTs are those of the gateway."""
        self.assertEqual(
            {case: differing()[case] for case in SAME}, dict.fromkeys(SAME, frozenset())
        )

    def test_routes(self) -> None:
        """So are paths and methods, but for those that only the gateway has."""
        unexpected = [name for name in differing()["routes"] if not OTHERWISE.search(name)]
        self.assertEqual(unexpected, [])
