"""C{authotron policy diff}: recorded requests that two policies decide differently."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import globalLogPublisher

from authotron.config.schema import LoggingConfig
from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.telemetry import audit
from authotron.telemetry.logs import Log
from tests.cli.test_policy import PolicyCase

READ: dict[str, Any] = {"name": "read", "subject": [["role=reader"]], "permissions": ["/d/**:GET"]}
DENY = {"name": "deny", "subject": [["role=reader"]], "permissions": ["-/d/x:*"]}
"""A rule, and another one that takes a part of it away."""
TESTS = [
    {"claims": ["role=reader"], "request": {"path": "/d/x"}, "expect": "allow", "name": "one"},
    {"claims": ["role=reader"], "request": {"path": "/d/y"}, "expect": "allow"},
    {"claims": ["role=writer"], "request": {"path": "/d/y"}, "expect": "deny"},
]


class DiffTests(PolicyCase):
    """Two policies over recorded requests."""

    def setUp(self) -> None:
        super().setUp()
        self.old = self.write("old.yaml", {"rules": [READ]})
        self.new = self.write("new.yaml", {"rules": [READ, DENY]})

    def compare(self, over: str, status: int, old: str = "", new: str = "") -> Any:
        result = self.policy("diff", old or self.old, new or self.new, "--over", over, "--json")
        self.assertEqual(result.exit_code, status, result.output)
        return json.loads(result.stdout)

    def lines(self, *lines: Any) -> str:
        return self.write(
            "lines.json",
            "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines),
        )

    def test_tests(self) -> None:
        """Tests of policies are recorded requests; what they expect does not matter."""
        found = self.compare(self.write("tests.yaml", {"tests": TESTS}), 1)
        self.assertEqual((found["requests"], found["ignored"], found["unclear"]), (3, 0, 0))
        [different] = found["different"]
        old = {"decision": "allow", "reason": "allowed", "rule": "read"}
        new = {"decision": "deny", "reason": "denied-by-policy", "rule": "deny"}
        self.assertEqual(different, {"name": "one", "old": old, "new": new})

    def test_text(self) -> None:
        """The differences are printed as a line each."""
        over = self.write("tests.yaml", {"tests": TESTS})
        result = self.policy("diff", self.old, self.new, "--over", over)
        self.assertEqual(
            result.stdout,
            "one: allow (allowed) by rule read -> deny (denied-by-policy) by rule deny\n"
            "1 of 3 requests are decided differently\n",
        )
        self.assertEqual(self.policy("diff", self.old, self.old, "--over", over).exit_code, 0)

    def test_configurations(self) -> None:
        """A side may be a configuration, whose other sections do not matter."""
        config = self.write("config.yaml", {"policy": {"default": "allow", "files": ["new.yaml"]}})
        found = self.compare(self.write("tests.yaml", {"tests": TESTS}), 1, new=config)
        self.assertEqual(
            [each["new"]["reason"] for each in found["different"]],
            [
                "denied-by-policy",
                "default",
            ],
        )

    def test_lines(self) -> None:
        """Lines of JSON have the keys of tests; other lines are ignored."""
        request = {"path": "/d/x", "method": "GET", "at": "2026-06-01T12:00:00Z"}
        over = self.lines(
            "a line before",
            {"claims": ["role=reader"], "request": request},
            "",
            "2026-01-01 INFO no JSON",
            "[" * 100_000,
            "[1]",
            "5",
            {"other": 1},
        )
        found = self.compare(over, 1)
        self.assertEqual((found["requests"], found["ignored"]), (1, 7))

    def test_bad_line(self) -> None:
        """A line with claims that has a mistake is named, and so is a file without requests."""
        request = {"path": "/d/x", "adress": "x"}
        over = self.lines({"other": 1}, {"claims": ["role=reader"], "request": request})
        [problem] = self.compare(over, 78)["problems"]
        self.assertIn("lines.json:2.request", problem["path"])
        [problem] = self.compare(self.lines({"other": 1}), 78)["problems"]
        self.assertIn("has no recorded request", problem["message"])
        self.assertIn("logging.format: json", problem["message"])
        [problem] = self.compare(str(self.folder / "none"), 78)["problems"]
        self.assertIn("cannot be read", problem["message"])

    def logged(self, *denials: tuple[Identity, dict[str, str | None]]) -> str:
        """Return a log in JSON, as the gateway writes it."""
        path = self.folder / "log"
        with path.open("w", encoding="utf-8") as stream:
            log = Log(LoggingConfig(format="json"), stream)
            globalLogPublisher.addObserver(log)
            for identity, facts in denials:
                found = Authentication(identity, "staff")
                stated = {"method": "GET", "host": "h", "address": None, "namespace": None, **facts}
                audit.request_denied(found, "no-matching-policy", "", stated, observes=False)
            globalLogPublisher.removeObserver(log)
        return str(path)

    def test_log(self) -> None:
        """Requests that were denied are found in the log, with the roles of the identity."""
        odd = Identity("here", "al\nice", ("reader", 'o"d, role', "\u2603"))
        bob = Identity("here", "bob", (), {"email": "x"})
        over = self.logged(
            (odd, {"path": "/d/x"}),
            (bob, {"path": "/d/x"}),
            (odd, {"path": None}),
            (odd, {"path": "/" + "x" * 2_000}),
        )
        found = self.compare(over, 1, old=self.new, new=self.old)
        self.assertEqual((found["requests"], found["ignored"], found["unclear"]), (2, 2, 0))
        [different] = found["different"]
        self.assertIn("al\\nice", json.dumps(different["name"]))
        self.assertEqual(different["new"]["rule"], "read")
        rule = {**DENY, "subject": [['role=o"d, role', "username=bob"], ["@source:name=staff"]]}
        other = self.write("other.yaml", {"rules": [{**rule, "permissions": ["/d/x:GET"]}]})
        self.assertEqual(len(self.compare(over, 1, old=self.new, new=other)["different"]), 2)

    def test_log_with_odd_roles(self) -> None:
        """An event of the log whose roles are no list of roles is ignored."""
        event = {"event.name": "policy.request.denied", "method": "GET", "path": "/d/x"}
        events = [{**event, "roles": roles} for roles in ("5", "{}", "null", '"reader"', "[]")]
        over = self.lines(*({"attributes": each} for each in events))
        found = self.compare(over, 0, old=self.new, new=self.old)
        self.assertEqual((found["requests"], found["ignored"]), (1, 4))

    def test_unclear(self) -> None:
        """Requests that the old policy does not deny by what the log has are not compared."""
        over = self.logged((Identity("here", "alice", ("reader",)), {"path": "/d/x"}))
        found = self.compare(over, 0)
        self.assertEqual((found["unclear"], found["different"]), (1, []))
        result = self.policy("diff", self.old, self.new, "--over", over)
        self.assertIn("1 requests of the log cannot be decided again", result.stderr)
