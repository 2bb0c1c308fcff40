"""What the tests of proxies declare for the table of proxies and features in docs/proxies.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_Test = TypeVar("_Test", bound=Callable[..., None])


def feature(label: str, shows: str = "") -> Callable[[_Test], _Test]:
    """
    Declare a test as a row of the table.

    @param label: what stands in the first column.
    @param shows: the attribute of the test case whose value stands in the cell, and which the test
        checks; without it the cell is C{yes}.
    """

    def declared(test: _Test) -> _Test:
        test.__dict__.update(label=label, shows=shows)
        return test

    return declared


def instead(cell: str) -> Callable[[_Test], _Test]:
    """
    Declare a test of one proxy that shows what this proxy does instead.

    @param cell: what stands in the table, C{no} with the reason.
    """

    def declared(test: _Test) -> _Test:
        test.__dict__.update(cell=cell)
        return test

    return declared


def rows(contract: type) -> list[tuple[str, str]]:
    """Return the name of each test of a contract, in their order, with its label."""
    tests = [(name, test) for name, test in vars(contract).items() if name.startswith("test_")]
    return [(name, test.label) for name, test in tests]


def cell(contract: type, case: type, name: str) -> str:
    """Return what the test of a proxy shows, for the table."""
    test: Any = getattr(case, name)
    shows = getattr(contract, name).shows
    return str(getattr(test, "cell", None) or (getattr(case, shows) if shows else "yes"))
