"""Explanations of rulings: the rules that apply to a request, and those that nearly do."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Login
from authotron.policy.explanation import Explanation, explain
from authotron.policy.near_misses import Failed
from authotron.policy.reasons import Reason
from authotron.policy.requirements import Requirement
from authotron.policy.resources import covers
from authotron.policy.rules import Request
from authotron.policy.times import Times
from tests.policy.building import build_policies
from tests.policy.test_policies import (
    ASKED,
    CLAIMS,
    LOGINS,
    NOON,
    PATTERNS,
    REQUESTS,
    groups,
    ruled,
    rules,
)

READ: dict[str, Any] = {
    "name": "read",
    "subject": [["role=reader", "realm=x"], ["role=ops"]],
    "permissions": ["/data/**:GET,HEAD"],
}
ALICE = ["realm=x", "role=reader"]


def explained(
    *rules_: dict[str, Any],
    claims: list[str] | None = None,
    path: str = "/data/x",
    verb: str = "GET",
    **more: Any,
) -> Explanation:
    """Explain the ruling about a request of alice."""
    facts = {key: more.pop(key) for key in ("id", "namespace", "host", "address") if key in more}
    policies = build_policies(rules_, more.pop("groups", ()))
    request = Request(path, verb, **facts)
    return explain(policies, ALICE if claims is None else claims, request, NOON, **more)


def missed(found: Explanation) -> list[tuple[str, str, list[str], str]]:
    return [
        (each.rule.name, each.unmet.failed.value, [*each.unmet.needed], each.unmet.found)
        for each in found.near_misses
    ]


class NearMissTests(SynchronousTestCase):
    """The single condition that a request does not meet."""

    def one(self, *expected: Any, **more: Any) -> None:
        """Check the only near miss of a rule with further limits."""
        keys = ("claims", "path", "verb", "id", "namespace", "host", "address")
        asked = {key: more.pop(key) for key in keys if key in more}
        found = explained({**READ, **more}, **asked)
        self.assertEqual(missed(found), [("read", *expected)])
        self.assertEqual(found.matches, [])
        self.assertFalse(found.ruling.allows)

    def test_subject(self) -> None:
        """The claims are named that the identity lacks for the nearest alternative."""
        self.one("subject", ["realm=x"], "", claims=["role=reader"])
        self.one("subject", ["role=ops"], "", claims=["role=writer"])

    def test_permission(self) -> None:
        """Resource, verb and id are the parts of a permission."""
        self.one("resource", ["/data/**"], "/other", path="/other")
        self.one("verb", ["GET", "HEAD"], "PUT", verb="PUT")
        self.one("id", ["1", "2"], "3", id="3", permissions=["/data/*:GET:2,1"])
        self.one("id", ["1"], "", permissions=["/data/*:GET:1"])

    def test_limits(self) -> None:
        """Each limit is named by its key, with its value and the fact of the request."""
        at = "2026-01-02T12:00:00Z"
        inside = ["10.0.0.0/8"]
        self.one("networks", inside, "192.0.2.7", networks=inside, address="192.0.2.7")
        self.one("networks", inside, "", networks=inside)
        self.one("hosts", ["x.org"], "y.org", hosts=["x.org"], host="y.org")
        self.one("methods", ["PUT"], "GET", methods=["PUT"])
        self.one("not_before", ["2026-01-02T12:00:01Z"], at, not_before=NOON + 1)
        self.one("expires", [at], at, expires=NOON)
        days = "mon tue wed thu fri sat sun"
        self.one("times", [f"00:00-01:00 {days} UTC"], at, times=Times(end=3600))
        self.one("disabled", ["false"], "true", disabled=True)
        self.one("namespace", ["/a"], "/b", namespace="/b", targets=["/a"])

    def test_when(self) -> None:
        """A condition is named with its text, and whether it is false or has no value."""
        self.one("when", ["claims.role == ['b']"], "false", when="claims.role == ['b']")
        self.one("when", ["claims.y == ['b']"], "no value", when="claims.y == ['b']")

    def test_login(self) -> None:
        """A login is named with what the rule requires, and what is known about it."""
        gold = Requirement(("gold", "silver"), 300)
        needed = ["acr gold or silver", "a login in the last 300 s"]
        unknown = "nothing is known about the login"
        self.one("require", needed, unknown, require=gold)
        found = explained({**READ, "require": gold}, login=Login("bronze", NOON - 60))
        expected = [("read", "require", needed, "acr bronze, 60 s ago")]
        self.assertEqual(missed(found), expected)
        found = explained({**READ, "require": Requirement((), 60)}, login=Login("gold"))
        expected = [
            ("read", "require", ["a login in the last 60 s"], "acr gold, at an unknown time")
        ]
        self.assertEqual(missed(found), expected)
        found = explained({**READ, "require": gold}, login=Login("gold", NOON))
        self.assertEqual([each.rule.name for each in found.matches], ["read"])
        weak = explained({**READ, "require": gold, "methods": ["PUT"]})
        self.assertEqual(missed(weak), [])

    def test_two_conditions(self) -> None:
        """A rule of which a request does not meet two conditions is not a near miss."""
        self.assertEqual(missed(explained(READ, claims=[], verb="PUT")), [])
        self.assertEqual(missed(explained({**READ, "disabled": True}, path="/b")), [])

    def test_order(self) -> None:
        """Rules that would change the ruling come first, then what a client meets most easily."""
        found = explained(
            {**READ, "name": "path", "permissions": ["/data/y:GET", "/b:GET"]},
            {**READ, "name": "deny", "permissions": ["-/data/**:*"], "networks": ["10.0.0.0/8"]},
            {**READ, "name": "role", "subject": [["role=a", "role=b"], ["role=c"]]},
            {**READ, "name": "from", "networks": ["10.0.0.0/8"]},
        )
        names = [(name, needed) for name, _, needed, _ in missed(found)]
        expected = [("role", ["role=c"]), ("path", ["/data/y"]), ("path", ["/b"])]
        self.assertEqual(names[1:-1], expected)
        self.assertEqual((names[0][0], names[-1][0]), ("from", "deny"))

    def test_at_most_ten(self) -> None:
        """Of many near misses the ten nearest are named."""
        many = [{**READ, "name": f"r{each}", "subject": [["role=z"]]} for each in range(50)]
        found = missed(explained(*many))
        self.assertEqual([name for name, *_ in found], [f"r{each}" for each in range(10)])


class ExplanationTests(SynchronousTestCase):
    """The whole explanation."""

    def test_decided(self) -> None:
        """The rule that decided is named, and all permissions that apply, denies first."""
        found = explained(
            READ,
            {**READ, "name": "no x", "subject": [["role=reader"]], "permissions": ["-/data/x:*"]},
        ).as_json()
        self.assertEqual((found["decision"], found["reason"]), ("deny", "denied-by-policy"))
        self.assertEqual(found["rule"], "no x")
        self.assertEqual(
            found["matches"],
            [
                {
                    "rule": "no x",
                    "effect": "deny",
                    "permission": "-/data/x:*",
                    "claims": ["role=reader"],
                },
                {
                    "rule": "read",
                    "effect": "allow",
                    "permission": "/data/**:GET,HEAD",
                    "claims": ["realm=x", "role=reader"],
                },
            ],
        )
        self.assertEqual(json.loads(json.dumps(found)), found)

    def test_request(self) -> None:
        """The request is repeated with its time, and the claims in alphabetical order."""
        found = explained(READ, claims=["role=reader", "a=b", "@group:name=ops"]).as_json()
        self.assertEqual(
            found["request"],
            {
                "resource": "/data/x",
                "verb": "GET",
                "id": None,
                "namespace": "/",
                "host": "",
                "address": None,
                "time": "2026-01-02T12:00:00Z",
            },
        )
        self.assertEqual(found["claims"], ["a=b", "role=reader"])

    def test_groups(self) -> None:
        """The groups that count are named, and rules apply by them."""
        group = {"name": "staff", "subject": [["role=reader"]]}
        rule = {**READ, "subject": [["@group:name=staff"]]}
        found = explained(rule, groups=[group])
        self.assertEqual((found.groups, found.ruling.allows), (["staff"], True))
        self.assertEqual(found.matches[0].tags, {"@group:name=staff"})

    def test_hidden_claims(self) -> None:
        """The claims are named that the credential hides and that the request would need."""
        found = explained(READ, claims=["realm=x"], unrestricted=ALICE)
        self.assertEqual(found.ruling.reason.value, "restricted")
        self.assertEqual(found.hidden, ["role=reader"])
        self.assertEqual(missed(found), [("read", "subject", ["role=reader"], "")])

    def test_many_matches(self) -> None:
        """Of many permissions that apply the first hundred are listed."""
        many = [{**READ, "name": f"r{each}"} for each in range(101)]
        found = explained(*many)
        self.assertEqual((len(found.matches), found.is_complete), (100, False))
        self.assertIs(found.matches[0].rule, found.ruling.rule)

    def test_conditions_take_steps(self) -> None:
        """Evaluating conditions ends the search earlier."""
        many = [{**READ, "name": f"r{each}", "when": "true"} for each in range(10)]
        self.assertEqual(len(explained(*many, most_steps=40).matches), 3)

    def test_malformed_namespace(self) -> None:
        """No rule applies, or nearly applies, in a namespace that is malformed."""
        found = explained(READ, namespace="data")
        self.assertEqual((found.ruling.reason.value, found.matches), ("namespace", []))
        self.assertEqual(found.near_misses, [])

    def test_limited_search(self) -> None:
        """The search ends after some steps, and says so; rules of the identity come first."""
        others = [{**READ, "name": f"r{each}", "subject": [["role=z"]]} for each in range(10)]
        found = explained(*others, READ, most_steps=7)
        self.assertEqual([each.rule.name for each in found.matches], ["read"])
        self.assertEqual((len(found.near_misses), found.is_complete), (1, False))
        self.assertTrue(explained(*others, READ, most_steps=None).is_complete)

    @given(some.data())
    def test_agrees_with_the_ruling(self, data: some.DataObject) -> None:
        """The first match is the rule that decided; without a match none did."""
        policies = build_policies(
            [data.draw(rules(each)) for each in range(data.draw(some.integers(1, 4)))],
            data.draw(groups()),
            heaviest=data.draw(some.booleans()),
        )
        claims = data.draw(some.lists(some.sampled_from(CLAIMS)))
        login = data.draw(LOGINS)
        found = explain(policies, claims, data.draw(REQUESTS), NOON, login=login)
        first = found.matches[0].rule if found.matches else None
        if found.ruling.reason is Reason.LOGIN:
            self.assertIsNone(first)
            nearest = found.near_misses[0]
            self.assertIs(nearest.unmet.failed, Failed.REQUIRE)
            first = nearest.rule
        self.assertIs(found.ruling.rule, first)


class CoversTests(SynchronousTestCase):
    """A pattern and a resource, compared alone."""

    @given(PATTERNS, ASKED | some.sampled_from(["*", "a", "a/b", "b/a"]))
    def test_as_the_table(self, pattern: str, resource: str) -> None:
        """The comparison gives what the table of rules gives."""
        self.assertEqual(covers(pattern, resource), ruled([f"{pattern}:*"], resource).allows)


class FailedTests(SynchronousTestCase):
    """The conditions that can fail."""

    def test_keys(self) -> None:
        """Each condition has a name of its own."""
        self.assertEqual(len({each.value for each in Failed}), len(Failed))
