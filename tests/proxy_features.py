"""
Keep the table of proxies and features in docs/proxies.md and the tests of proxies together.

A row of the table is a test of L{ProxyContract<tests.functional.proxies.contract.ProxyContract>}, a
column is a test case in F{tests/functional/test_proxies.py}, so that each cell is a test.
C{make proxy-features} writes the table.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.functional import test_proxies
from tests.functional.proxies.contract import ProxyContract
from tests.functional.proxies.features import cell, rows

PAGE = Path(__file__).parents[1] / "docs" / "proxies.md"
_TABLE = re.compile(r"(?<=\n<!-- features -->\n).*?(?=\n<!-- end of features -->\n)", re.DOTALL)


def cases() -> list[type[ProxyContract]]:
    """Return the test cases of the proxies, in their order."""
    found = vars(test_proxies).values()
    return [each for each in found if isinstance(each, type) and issubclass(each, ProxyContract)]


def table() -> str:
    """Return the table."""
    lines = [["feature", *(case.name for case in cases())], ["---"] * (len(cases()) + 1)]
    lines += [
        [label, *(cell(ProxyContract, case, name) for case in cases())]
        for name, label in rows(ProxyContract)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def current(page: str) -> str:
    """Return the page with the table of the tests."""
    assert len(_TABLE.findall(page)) == 1, "the page has no place for the table"
    return _TABLE.sub(lambda _found: f"\n{table()}\n", page)


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
