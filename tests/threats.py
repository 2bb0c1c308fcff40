"""
Keep docs/threats.md, docs/faults.md and the tests together.

The rules on the pages are written by people. Which tests show a rule follows from the names of the
tests: C{test_unknown_realm_T10} belongs to the row T10. C{make threats} writes the references.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from attrs import frozen

TESTS = Path(__file__).parent
THREATS = TESTS.parent / "docs" / "threats.md"
"""What an attacker does: the ids T, S and D."""

FAULTS = TESTS.parent / "docs" / "faults.md"
"""What goes wrong without an attacker: all other ids."""

PAGES = (THREATS, FAULTS)
_TESTING = TESTS.parent / "authotron" / "testing"
CONTRACTS = (_TESTING / "contracts.py", _TESTING / "record_contract.py")
"""Tests that the test cases of each implementation inherit."""

HEADING = "## Tests"
"""The heading below which the page is generated."""

_ID = r"T\d{2,3}[a-z]?|[BHLMNOQRSUW]-[A-Z0-9]+|D\d"
_SUFFIX = re.compile(rf"_({_ID.replace(']-', ']_')})$")
_DEFINITION = re.compile(
    r"^class (?P<case>\w+)|^    (?:async )?def (?P<method>test\w+)", re.MULTILINE
)
_ROW = re.compile(
    rf"^\| (?P<ids>(?:{_ID})(?:, (?:{_ID}))*) \| (?P<rule>[^|]*) \|(?P<shown>[^|]*)\|$"
)


@frozen
class Row:
    """
    One row of the page.

    @ivar shown: a link to the tests, or the feature that brings the rule.
    """

    ids: Sequence[str]
    rule: str
    shown: str

    @property
    def anchor(self) -> str:
        return "-".join(self.ids).lower()

    def link(self, count: int) -> str:
        """Return the cell that links to the names of a number of tests."""
        return f"[{count} {'test' if count == 1 else 'tests'}](#{self.anchor})"

    def tests(self, found: Mapping[str, Sequence[str]]) -> list[str]:
        """Return the names of the tests that show the rule, sorted, each once."""
        return sorted({name for each in self.ids for name in found.get(each, ())})


def ids(name: str) -> list[str]:
    """The ids at the end of a test's name: C{test_x_T37c_S_TLS} has T37c and S-TLS."""
    found: list[str] = []
    while suffix := _SUFFIX.search(name):
        found.insert(0, suffix[1].replace("_", "-"))
        name = name[: suffix.start()]
    return found


@cache
def tests() -> dict[str, list[str]]:
    """Return the dotted names of all tests that carry an id, by id."""
    found: dict[str, list[str]] = {}
    for path in [*sorted(TESTS.rglob("*.py")), *CONTRACTS]:
        module = ".".join(path.relative_to(TESTS.parent).with_suffix("").parts)
        for case, method in _methods(path.read_text(encoding="utf-8")):
            for each in ids(method):
                found.setdefault(each, []).append(f"{module}.{case}.{method}")
    return found


def _methods(module: str) -> Iterator[tuple[str, str]]:
    """Yield the tests in the text of a module, each with the name of its test case."""
    case = ""
    for found in _DEFINITION.finditer(module):
        case = found["case"] or case
        if found["method"]:
            yield case, found["method"]


def rows(page: str) -> list[Row]:
    """All rows of all tables of a page."""
    found = map(_row, _written(page).splitlines())
    return [row for row in found if row]


def _row(line: str) -> Row | None:
    found = _ROW.match(line)
    return found and Row(found["ids"].split(", "), found["rule"], found["shown"].strip())


def _written(page: str) -> str:
    """The part of a page that people write."""
    return page.partition(f"\n{HEADING}\n")[0]


def current(page: str, found: Mapping[str, Sequence[str]]) -> str:
    """The page with the references to the tests that exist."""
    known = rows(page)
    lines = [_referring(line, found) for line in _written(page).rstrip().splitlines()]
    sections = [
        "\n".join([f"### {', '.join(row.ids)}", "", *(f"- `{name}`" for name in names)])
        for row in sorted(known, key=_order)
        if (names := row.tests(found))
    ]
    introduction = (
        "Run a test by `.venv/bin/python -m twisted.trial NAME`. The test cases of each\n"
        "implementation inherit the tests in `authotron.testing.contracts`, and those of each\n"
        "proxy the tests in `tests.functional.proxies.contract`. `make threats` writes the list."
    )
    return "\n\n".join(["\n".join(lines), HEADING, introduction, *sections]) + "\n"


def _referring(line: str, found: Mapping[str, Sequence[str]]) -> str:
    row = _row(line)
    count = len(row.tests(found)) if row else 0
    if row is None or count == 0:
        return line
    return f"| {', '.join(row.ids)} | {row.rule} | {row.link(count)} |"


def _order(row: Row) -> tuple[str, int, str]:
    """T before S before D before the others; numbers by their value."""
    kind, number, rest = re.fullmatch(r"([A-Z])-?(\d*)(.*)", row.ids[0]).groups()  # type: ignore[union-attr] # as _ROW has it
    return {"T": "1", "S": "2", "D": "3"}.get(kind, kind), int(number or 0), rest


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(current(each.read_text(encoding="utf-8"), tests()), encoding="utf-8")
