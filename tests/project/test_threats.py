"""The tables of threats and of faults, and the tests to which they refer."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests import threats

UNUSED = {87, 90}
HIGHEST = 102
FEATURE = re.compile(r"\*([a-z ]+)\*")


class PageTests(SynchronousTestCase):
    """What docs/threats.md and docs/faults.md say."""

    maxDiff = None

    def setUp(self) -> None:
        self.pages = {each.name: each.read_text(encoding="utf-8") for each in threats.PAGES}
        self.rows = [row for page in self.pages.values() for row in threats.rows(page)]
        self.found = threats.tests()

    def test_current(self) -> None:
        """The tests on the pages are those that exist: C{make threats} writes them."""
        for name, page in self.pages.items():
            current = threats.current(page, self.found)
            self.assertTrue(page == current, f"docs/{name} is out of date: run make threats")

    def test_kinds(self) -> None:
        """What an attacker does stands in threats.md, everything else in faults.md."""
        for name, kinds in (("threats.md", "TSD"), ("faults.md", "BHLMNOQRUW")):
            for row in threats.rows(self.pages[name]):
                for each in row.ids:
                    with self.subTest(each):
                        self.assertIn(each[0], kinds)

    def test_every_test(self) -> None:
        """A test whose name ends in an id has a row."""
        known = {each for row in self.rows for each in row.ids}
        self.assertEqual(set(self.found) - known, set(), "write rows for these ids")

    def test_every_number(self) -> None:
        """Every number has a row, alone or with a letter behind it."""
        numbers = {
            int(each[1:4].rstrip("abcdefgh"))
            for row in self.rows
            for each in row.ids
            if each[0] == "T"
        }
        self.assertEqual(numbers, set(range(1, HIGHEST + 1)) - UNUSED)

    def test_once(self) -> None:
        """Every id is in one row only."""
        listed = [each for row in self.rows for each in row.ids]
        self.assertEqual(sorted(listed), sorted(set(listed)))

    def test_rules(self) -> None:
        """A rule is one sentence."""
        for row in self.rows:
            with self.subTest(row.ids[0]):
                self.assertRegex(row.rule, r"^[A-Z`*][^|]+\.$")
                self.assertNotRegex(row.rule, r"\. [A-Z]")

    def test_without_tests(self) -> None:
        """A rule without a test names the feature that brings it, which the page explains."""
        table = self.pages["threats.md"].partition("| feature |")[2].partition("\n\n")[0]
        explained = set(re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE))
        for row in self.rows:
            if not row.tests(self.found):
                with self.subTest(row.ids[0]):
                    feature = FEATURE.fullmatch(row.shown)
                    self.assertIsNotNone(feature)
                    assert feature is not None
                    self.assertIn(feature[1], explained)


class IdsTests(SynchronousTestCase):
    """Ids in the names of tests."""

    def test_ids(self) -> None:
        """The ids of a test stand at the end of its name, several behind each other."""
        for name, ids in (
            ("test_x_T37c_T68b", ["T37c", "T68b"]),
            ("test_x_S_TLS", ["S-TLS"]),
            ("test_x_D3", ["D3"]),
            ("test_x_H_10_O_YAML", ["H-10", "O-YAML"]),
            ("test_T10_elsewhere", []),
            ("test_x", []),
        ):
            with self.subTest(name):
                self.assertEqual(threats.ids(name), ids)
