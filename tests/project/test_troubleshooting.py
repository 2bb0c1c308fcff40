"""The page "when something is wrong" has the texts that operators see, as the code has them."""

from __future__ import annotations

import ast
import re
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from authotron.net.reasons import Reason
from tests.config.cases import ROOT
from tests.sources import parsed

PAGE = ROOT / "docs" / "troubleshooting.md"
LOGGED = {"warn", "error", "failure"}
RAISED = {"Unavailable", "TimedOut", "_Unreachable", "ProxyFailed", "Untrusted", "Rejected"}
SAID = {"ClickException"}
GAP = "\0"
"""Stands for the part of a text that is filled in."""

END = "\1"
"""Separates texts."""

ELSEWHERE = ("testing", "client")
"""Packages for other projects, whose texts operators do not see."""


def text_of(node: ast.expr) -> str:
    """Return the text of a string in the code, with gaps, or an empty string for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"\{[^{}]*\}", GAP, node.value)
    if isinstance(node, ast.JoinedStr):
        values = [each.value if isinstance(each, ast.Constant) else GAP for each in node.values]
        return "".join(map(str, values))
    return ""


@cache
def nodes() -> tuple[ast.expr, ...]:
    """Return all expressions of the code that can hold texts for operators."""
    folder = ROOT / "authotron"
    paths = [
        path for path in folder.rglob("*.py") if path.relative_to(folder).parts[0] not in ELSEWHERE
    ]
    trees = map(parsed, paths)
    kinds = (ast.Call, ast.Constant, ast.JoinedStr)
    return tuple(node for tree in trees for node in ast.walk(tree) if isinstance(node, kinds))


def all_texts() -> set[str]:
    return set(filter(None, map(text_of, nodes())))


def operators_see() -> set[str]:
    """The texts of warnings and errors in the log, of refusals, outages and commands."""
    found: set[str] = set()
    for node in nodes():
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
        if name in LOGGED | RAISED | SAID:
            found.add(text_of(node.args[0]))
    return {each for each in found if re.search(r"[a-z]{4}", each)}


def entries() -> list[str]:
    """The texts in the first columns of the page."""
    _, _, page = PAGE.read_text(encoding="utf-8").partition("## Why a connection fails")
    rows = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    return [each for row in rows for each in re.findall(r"`([^`]+)`", row)]


def fits(entry: str, texts: str) -> bool:
    """Whether the parts of an entry, between its dots, stand in one of the texts in this order."""
    parts = filter(None, (each.strip() for each in entry.split("...")))
    return re.search(f"[^{END}]*".join(map(re.escape, parts)), texts) is not None


class TroubleshootingTests(SynchronousTestCase):
    """The page and the code."""

    def test_every_entry_is_a_text_of_the_code(self) -> None:
        """Each text on the page stands in the code, so no text has drifted."""
        found = entries()
        self.assertGreater(len(found), 150)
        texts = END.join(all_texts())
        missing = [each for each in found if not fits(each, texts)]
        self.assertEqual(missing, [])

    def test_every_text_is_on_the_page(self) -> None:
        """Each warning, error, refusal and outage in the code is found on the page by its text."""
        known = [each for each in entries() if re.search(r"[a-zA-Z]{4}", each)]
        texts = operators_see()
        self.assertGreater(len(texts), 150)
        missing = [text for text in sorted(texts) if not any(fits(each, text) for each in known)]
        self.assertEqual(missing, [])

    def test_every_reason_is_on_the_page(self) -> None:
        """Each reason of the vocabulary has a row."""
        found = entries()
        self.assertEqual([str(each) for each in Reason if str(each) not in found], [])
