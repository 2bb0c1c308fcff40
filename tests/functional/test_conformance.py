"""The recorded conversations with the original, played against the real daemon."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.functional.daemon import TWISTD, environment, has_ipv6
from tests.functional.databases import shared

RUNNER = Path(__file__).resolve().parents[1] / "conformance/run.py"
MINUTES = 60


@frozen
class Pending:
    """Exchanges of one case that do not agree yet, and the feature that they wait for."""

    reason: str
    exchanges: AbstractSet[str]


PENDING: Mapping[str, Pending] = {}


@frozen
class Outcome:
    """
    The result of the runner.

    @ivar differing: by case, the names of the exchanges that did not agree.
    """

    status: int
    output: str
    differing: Mapping[str, frozenset[str]]


@cache
def played() -> Outcome:
    """Play every case, once for all tests."""
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
    return Outcome(done.returncode, done.stdout + done.stderr, differing(done.stdout))


def differing(output: str) -> dict[str, frozenset[str]]:
    """Return the names of the failed exchanges, by case."""
    found = re.findall(r"^FAIL (\S+):.*\n((?:(?!ok  |FAIL ).*\n)*)", output, re.MULTILINE)
    return {
        case: frozenset(re.findall(r"^ {7}(\S.*)$", below, re.MULTILINE)) for case, below in found
    }


class ConformanceTests(SynchronousTestCase):
    """The recorded answers of the original, and the documented deviations from them."""

    maxDiff = None

    def test_cases(self) -> None:
        """Every exchange agrees, except for those that are listed as pending."""
        outcome = played()
        unexpected_status = {
            case: names
            for case, failed in outcome.differing.items()
            if (names := failed - (PENDING[case].exchanges if case in PENDING else set()))
        }
        self.assertEqual(unexpected_status, {}, outcome.output)
        self.assertIn(outcome.status, {0, 1}, outcome.output)
        self.assertRegex(outcome.output, r"(?m)^\d{2,} cases, \d{3,} exchanges, \d+ differ")
        skipped = re.findall(r"(?m)^skip .*: needs (.*)$", outcome.output)
        self.assertLessEqual({*skipped}, set() if has_ipv6() else {"IPv6"})

    def test_pending(self) -> None:
        """A pending exchange that agrees is taken from the list."""
        outcome = played()
        agreeing = {
            case: names
            for case, pending in PENDING.items()
            if (names := pending.exchanges - outcome.differing.get(case, frozenset()))
        }
        self.assertEqual(agreeing, {}, "remove these from PENDING: they agree now")
