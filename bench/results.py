"""The file that keeps everything that a run measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from contest import Contest

HERE = Path(__file__).resolve().parent


def describe_run() -> dict[str, Any]:
    """Return the machine, the versions and the load before the run."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "commit": _commit(HERE.parent),
        "before": _commit(Path(os.environ.get("AUTHOTRON_BEFORE", "/"))),
        "load": os.getloadavg()[0],
    }


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    names = [line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit(checkout: Path) -> str:
    """Return the commit of a checkout, with a plus sign if files differ; empty if there is none."""
    describe = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=8", "--dirty=+"]
    found = subprocess.run(describe, capture_output=True, text=True, check=False)
    return found.stdout.strip()


@define
class Results:
    """The contests of a run, and where and of what it was measured."""

    run: dict[str, Any] = field(factory=describe_run)
    contests: list[Contest] = field(factory=list)

    def write(self, file: Path) -> None:
        """Write everything as JSON, with five significant digits."""
        content = {
            "run": self.run,
            "contests": {each.name: _rounded(each.rounds) for each in self.contests},
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, files: Sequence[Path]) -> Results:
        """
        Read files that L{write} has written.

        A contest of a later file replaces that of an earlier one, so that a contest can be
        repeated alone.
        """
        run: dict[str, Any] = {}
        contests: dict[str, Contest] = {}
        for file in files:
            content = json.loads(file.read_text())
            run = run or content["run"]
            for name, rounds in content["contests"].items():
                contests[name] = Contest(name, rounds=rounds)
        return cls(run, list(contests.values()))


def _rounded(rounds: dict[str, list[dict[str, float]]]) -> dict[str, list[dict[str, float]]]:
    return {
        entrant: [{name: float(f"{value:.5g}") for name, value in each.items()} for each in figures]
        for entrant, figures in rounds.items()
    }
