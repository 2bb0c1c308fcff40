"""The words of the package: the field's terms, and sentences that name who acts."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PACKAGE = Path(__file__).parents[2] / "authotron"
AVOIDED = re.compile(r"\b(nobody|somebody|anybody|whoever|told|fares)\b", re.IGNORECASE)
"""Words behind which the client, the operator, the worker or the fact disappears."""


class WordsTests(SynchronousTestCase):
    """What the style of the project avoids."""

    def test_sentences_name_who_acts(self) -> None:
        """No module of the package contains one of the avoided words."""
        found = [
            f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
            for path in sorted(PACKAGE.rglob("*.py"))
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if AVOIDED.search(line)
        ]
        self.assertEqual(found, [])
