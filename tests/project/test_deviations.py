"""Every deviation of the recorded cases is on the page about differences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]

ROWS = ROOT / "tests/conformance/deviations.yaml"
"""For each C{deviation:} of a case, how its row in docs/differences.md begins."""


class _Loader(yaml.CSafeLoader):
    """A loader of cases that ignores the tags of expected answers."""


def _untagged(loader: yaml.CSafeLoader, _: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value


_Loader.add_multi_constructor("!", _untagged)


def _rows() -> dict[str, str]:
    rows: dict[str, str] = yaml.safe_load(ROWS.read_text(encoding="utf-8"))
    return rows


@cache
def _deviations() -> set[str]:
    paths = (ROOT / "tests/conformance/cases").glob("*.yaml")
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return {
        why for text in texts for case in yaml.load_all(text, _Loader) for why in _reasons(case)
    }


def _reasons(case: dict[str, Any]) -> Iterator[str]:
    parts = [case.get("exits"), case.get("afterwards"), *case.get("exchanges", ())]
    yield from (part["deviation"] for part in parts if part and "deviation" in part)


class DeviationTests(SynchronousTestCase):
    """The rows of docs/differences.md."""

    def test_every_deviation_has_a_row(self) -> None:
        """Every reason for a deviation leads to a row of docs/differences.md."""
        page = (ROOT / "docs/differences.md").read_text(encoding="utf-8")
        rows = _rows()
        cells = re.findall(r"^\| ([^|]+) \|", page, flags=re.MULTILINE)
        missing = sorted(_deviations() - set(rows))
        self.assertEqual(missing, [], f"name the rows of these deviations in {ROWS.name}")
        gone = [row for row in rows.values() if not any(cell.startswith(row) for cell in cells)]
        self.assertEqual(gone, [], "docs/differences.md has no such rows")

    def test_every_row_is_used(self) -> None:
        """Every listed reason is the reason of a case."""
        self.assertEqual(set(_rows()) - _deviations(), set())
