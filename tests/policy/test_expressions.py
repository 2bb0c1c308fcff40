"""Conditions of rules in the Common Expression Language."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from authotron.policy import expressions
from authotron.policy.claims import by_key
from authotron.policy.expressions import LONGEST, compiled
from authotron.policy.rules import Request

SUMMER_MORNING = 1_782_885_600.0
"""6 in the morning of 1 July 2026 in UTC, 8 in Berlin."""

ROOT_PAGE = Request("/", "GET")
READER = {"role": ["operator", "reader"], "@source:realm": ["ecmwf"], "email": ["a@example.org"]}


def holds(
    text: str, claims: Mapping[str, list[str]] | None = None, asked: Request | None = None
) -> bool | None:
    asked = asked or Request("/data/x", "GET", host="archive.example.org", address="192.0.2.7")
    return compiled(text).holds(READER if claims is None else claims, asked, SUMMER_MORNING)


class HoldsTests(SynchronousTestCase):
    """Conditions that hold, and that do not hold."""

    def test_claims(self) -> None:
        """An expression reads all values of a claim by its key."""
        self.assertTrue(holds('"reader" in claims.role'))
        self.assertTrue(holds('claims["@source:realm"] == ["ecmwf"]'))
        self.assertTrue(holds('claims.email.exists(each, each.endsWith("@example.org"))'))
        self.assertFalse(holds('"writer" in claims.role'))
        self.assertFalse(holds("has(claims.scope)"))

    def test_request(self) -> None:
        """An expression reads each fact of the request."""
        asked = Request("/a", "PUT", "7", "/data", "h.example.org", "192.0.2.7")
        for text in (
            'request.path == "/a"',
            'request.method == "PUT"',
            'request.id == "7"',
            'request.namespace == "/data"',
            'request.host.endsWith(".example.org")',
            'request.address == "192.0.2.7"',
        ):
            self.assertTrue(holds(text, asked=asked), text)

    def test_values_belong_to_one_request(self) -> None:
        """The values of one request are never used for another one."""
        condition = compiled('"a" in claims.role && request.path == "/a" && now.getMinutes() == 0')
        one, other = {"role": ["a"]}, {"role": ["b"]}
        for claims, path, now, expected in (
            (one, "/a", SUMMER_MORNING, True),
            (other, "/a", SUMMER_MORNING, False),
            (one, "/a", SUMMER_MORNING, True),
            (one, "/b", SUMMER_MORNING, False),
            (one, "/a", SUMMER_MORNING + 60, False),
            (one, "/a", SUMMER_MORNING, True),
        ):
            self.assertIs(condition.holds(claims, Request(path, "GET"), now), expected)

    def test_claims_are_converted_once_S_CEL(self) -> None:
        """The claims of a client are converted once for all conditions that a request meets."""
        conditions = [compiled(f'"{name}" in claims.role') for name in "abc"]
        claims = {"role": ["a", "b"]}
        latest = expressions._Latest()
        with patch.object(expressions, "_latest", latest):
            for each in conditions:
                each.holds(claims, ROOT_PAGE, SUMMER_MORNING)
        self.assertEqual(len(latest._known), 1)

    def test_now(self) -> None:
        """The time is compared in a time zone."""
        self.assertTrue(holds('now.getHours("Europe/Berlin") == 8 && now.getHours() == 6'))
        self.assertTrue(holds('now > timestamp("2026-01-01T00:00:00Z")'))

    def test_reads(self) -> None:
        """What an expression reads of the request is known, so that nothing else is parsed."""
        self.assertEqual(compiled("has(claims.role)").reads, frozenset())
        text = 'request.host == "x" || request.path.startsWith("/") // request.method'
        self.assertEqual(compiled(text).reads, {"host", "path"})

    def test_by_key(self) -> None:
        """Tags with the same key are one list, in the order of the alphabet."""
        tags = {"role=b", "role=a", "x=y=z", "@issuer=i"}
        expected = {"role": ["a", "b"], "x": ["y=z"], "@issuer": ["i"]}
        self.assertEqual(by_key(tags), expected)


class FailedTests(SynchronousTestCase):
    """Expressions without a value."""

    def assert_fails(
        self,
        text: str,
        message: str,
        claims: Mapping[str, list[str]] = READER,
        asked: Request = ROOT_PAGE,
    ) -> None:
        notes: list[str] = []
        self.assertIsNone(compiled(text, notes.append).holds(claims, asked, SUMMER_MORNING))
        [note] = notes
        self.assertIn(message, note)
        self.assertNotIn("\n", note)

    def test_missing_claim(self) -> None:
        """A claim that the identity lacks is an error, unless the rest decides without it."""
        self.assert_fails('"x" in claims.scope', 'Key not found in map : "scope"')
        self.assertTrue(holds('"x" in claims.scope || true'))
        self.assertTrue(holds('!has(claims.scope) || "x" in claims.scope'))

    def test_unknown_facts(self) -> None:
        """An expression that reads an unknown address or id has no value, whatever it compares."""
        for fact in ("address", "id"):
            for text in (f'request.{fact} == ""', f'request.{fact} != "x"'):
                self.assert_fails(text, f"request.{fact}")
            self.assertTrue(holds(f'request.path == "/" || request.{fact} == "x"', {}, ROOT_PAGE))

    def test_division_and_zone(self) -> None:
        """Division by zero and an unknown time zone are errors."""
        self.assert_fails("size(claims.role) / 0 == 1", "divide by zero")
        self.assert_fails('now.getHours("No/Where") == 1', "timezone")

    def test_explosion(self) -> None:
        """Nested loops over many claims end with the budget of iterations."""
        claims = {f"key{number}": ["value"] for number in range(100)}
        text = 'claims.all(a, claims.all(b, claims.all(c, claims.all(d, a + b != ""))))'
        self.assert_fails(text, "budget exceeded", claims)

    def test_evil_pattern(self) -> None:
        """A regular expression that backtracks elsewhere takes linear time."""
        self.assertFalse(holds('"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab".matches("^(a+)+$")'))

    def test_surrogate(self) -> None:
        """A fact that is not Unicode is an error, not a crash."""
        asked = Request("\ud800", "GET")
        self.assert_fails('request.path == "/"', "", READER, asked)


class MistakeTests(SynchronousTestCase):
    """Mistakes that are found when an expression is loaded."""

    def assert_refused(self, text: str, message: str) -> None:
        error = self.assertRaises(ValueError, compiled, text)
        self.assertIn(message, str(error))
        self.assertNotIn("\n", str(error))
        self.assertLess(len(str(error)), 400)

    def test_unknown_names(self) -> None:
        """An unknown variable is refused, with its place."""
        self.assert_refused(
            'request.metod == "GET"', "line 1, column 8: undeclared reference to 'request.metod'"
        )
        self.assert_refused('\nuser == "x"', "line 2, column 1: undeclared reference to 'user'")

    def test_types(self) -> None:
        """Values of different types are not compared."""
        self.assert_refused("request.method == 1", "no matching overload")
        self.assert_refused('claims.role == "reader"', "no matching overload")

    def test_no_condition(self) -> None:
        """An expression whose value need not be true or false is refused."""
        self.assert_refused("request.path", "of the type string")
        self.assert_refused("1", "of the type int")
        self.assert_refused("dyn(true)", "of the type dyn")

    def test_syntax(self) -> None:
        """Malformed expressions are refused."""
        for text in ("", " ", '"', "true &&", "(true", "\0", "claims.", "// only a comment"):
            self.assert_refused(text, "Syntax error")
        self.assert_refused('"\ud800" == request.path', "surrogate")

    def test_size(self) -> None:
        """Long and deeply nested expressions are refused."""
        self.assert_refused("true || " * 300 + "true", f"longer than {LONGEST} characters")
        self.assert_refused("(" * 900 + "true" + ")" * 900, "recursion")

    def test_lists_of_lists(self) -> None:
        """The macro that makes lists of lists is refused, as its result has no maximum size."""
        self.assert_refused("claims.role.map(a, claims.role).size() > 1", "uses map()")
        self.assert_refused("claims.role. map\n(a, claims.role).size() > 1", "uses map()")

    def test_extra_is_missing(self) -> None:
        """Without the library the message names the extra."""
        expressions._environment.cache_clear()
        self.addCleanup(expressions._environment.cache_clear)
        with patch.dict(sys.modules, {"cel_expr_python": None}):
            self.assert_refused("true", "pip install 'authotron[cel]'")
