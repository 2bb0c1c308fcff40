"""Permission lists, from which other programs rule on requests by themselves."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import attrs
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Login
from authotron.policy import expressions, permission_list
from authotron.policy.policies import Access
from authotron.policy.requirements import Requirement
from authotron.policy.rule_limits import limits_of
from authotron.policy.rules import Request, Rule
from authotron.policy.times import Times
from tests import STREAMS
from tests.policy import local
from tests.policy.building import build_policies, build_restriction, build_rule
from tests.policy.test_policies import CLAIMS, LOGINS, NOON, REQUESTS, groups, rules

RESTRICTIONS = some.builds(
    lambda namespace, permissions, networks: {
        "namespace": namespace,
        "permissions": permissions,
        "networks": networks,
    },
    some.sampled_from(["", "", "/", "/data"]),
    some.sampled_from([[], ["/**:GET"], ["/a/**:*", "-/a/b:*"], ["*:*:1"]]),
    some.sampled_from([[], [], ["192.0.2.0/24"]]),
)


def listed(access: Access, namespace: str = "/", login: Login | None = None) -> Any:
    """Return the list as another program receives it."""
    head = {"login": permission_list.login_as_json(login)}
    layers = [*permission_list.layers(access, namespace)]
    return json.loads("".join(permission_list.fragments(head, layers)))


def locally(
    access: Access, request: Request, now: float, login: Login | None = None
) -> tuple[bool, str]:
    """Rule on a request by the list alone."""
    asked = local.Asked(request.resource, request.verb, request.id, request.host, request.address)
    moment = datetime.fromtimestamp(now, UTC)
    return local.allows(listed(access, request.namespace, login), asked, moment)


class RulingTests(SynchronousTestCase):
    """Rulings that a program makes from a list equal those of the gateway."""

    @settings(max_examples=STREAMS, deadline=None)
    @given(some.data())
    def test_as_the_gateway_S_LIST(self, data: some.DataObject) -> None:
        """For random rules, groups, claims and requests both rulings and reasons are the same."""
        given_rules = [data.draw(rules(each)) for each in range(data.draw(some.integers(1, 4)))]
        policies = build_policies(
            given_rules,
            data.draw(groups()),
            heaviest=data.draw(some.booleans()),
            allows_by_default=data.draw(some.booleans()),
        )
        login = data.draw(LOGINS)
        access = policies.access(data.draw(some.lists(some.sampled_from(CLAIMS))), login=login)
        for request in data.draw(some.lists(REQUESTS, min_size=1, max_size=4)):
            now = data.draw(some.sampled_from([0.0, NOON - 1, NOON, NOON + 7200]))
            ruling = access.rule(request, now)
            expected = ruling.allows, ruling.reason.value
            found = locally(access, request, now, login)
            self.assertEqual(found, expected, (given_rules, request))

    @settings(max_examples=STREAMS, deadline=None)
    @given(some.data())
    def test_restricted_S_LIST(self, data: some.DataObject) -> None:
        """If a credential hides claims, or is restricted, all layers must allow a request."""
        policies = build_policies(
            [data.draw(rules(each)) for each in range(data.draw(some.integers(1, 4)))],
            data.draw(groups()),
            heaviest=data.draw(some.booleans()),
        )
        whole = data.draw(some.lists(some.sampled_from(CLAIMS)))
        given_restrictions = data.draw(some.lists(RESTRICTIONS, max_size=2))
        access = policies.access(
            whole[1:], tuple(map(build_restriction, given_restrictions)), whole
        )
        for request in data.draw(some.lists(REQUESTS, min_size=1, max_size=4)):
            found, _ = locally(access, request, NOON)
            self.assertEqual(found, access.rule(request, NOON).allows)

    def test_times(self) -> None:
        """Spans of the day are stated with days and zone, also those over midnight."""
        zone = ZoneInfo("Europe/Berlin")
        for times in (Times(6 * 3600, zone=zone), Times(22 * 3600, 3600, frozenset({4}), zone)):
            rule = {"name": "r", "subject": [["role=a"]], "permissions": ["/a:GET"], "times": times}
            access = build_policies([rule]).access(["role=a"])
            for hours in range(48):
                now = NOON + hours * 3600
                request = Request("/a", "GET")
                found = locally(access, request, now)
                self.assertEqual(found[0], access.rule(request, now).allows, (times, hours))

    def test_condition_with_cel(self) -> None:
        """A program that can evaluate C{when} rules as the gateway, with the claims of the list."""

        def when(text: str, claims: local.Json, asked: local.Asked, now: datetime) -> bool | None:
            request = Request(asked.resource, asked.verb)
            return expressions.compiled(text).holds(claims, request, now.timestamp())

        home = 'request.path.startsWith("/home/" + claims.username[0] + "/")'
        rules_ = [
            {"name": "own", "subject": [["realm=x"]], "permissions": ["/home/**:*"], "when": home},
            {
                "name": "no",
                "subject": [["realm=x"]],
                "permissions": ["-/**:PUT"],
                "when": "has(claims.a)",
            },
        ]
        policies, moment = build_policies(rules_), datetime.fromtimestamp(NOON, UTC)
        for claims in (
            ["realm=x", "username=bob"],
            ["realm=x"],
            ["realm=x", "username=eve", "a=1"],
        ):
            access = policies.access(claims)
            for path in ("/home/bob/x", "/home/eve/x"):
                for verb in ("GET", "PUT"):
                    ruling = access.rule(Request(path, verb), NOON)
                    asked = local.Asked(path, verb, None, "", None)
                    found = local.allows(listed(access), asked, moment, when)
                    self.assertEqual(found, (ruling.allows, ruling.reason.value), (claims, asked))

    def test_condition_without_cel_S_LIST(self) -> None:
        """A program that cannot evaluate C{when} never allows more than the gateway."""
        limits = {"subject": [["role=a"]], "when": "claims.role == ['a']"}
        rules_: list[dict[str, Any]] = [
            {"name": "allow", "permissions": ["/a:GET"], **limits},
            {"name": "deny", "permissions": ["/b:*", "-/b:PUT"], **limits},
        ]
        access = build_policies(rules_).access(["role=a"])
        self.assertEqual(locally(access, Request("/a", "GET"), NOON), (False, "condition"))
        self.assertEqual(locally(access, Request("/b", "PUT"), NOON), (False, "denied-by-policy"))


class FormTests(SynchronousTestCase):
    """The form of a list."""

    def test_rules_without_limits(self) -> None:
        """Rules without limits are one, duplicates are left out, and no name is shown."""
        rules_: list[dict[str, Any]] = [
            {"name": "x1", "subject": [["role=a"]], "permissions": ["/a:GET", "-/b:*:1,2"]},
            {"name": "x2", "subject": [["role=a"]], "permissions": ["/a:GET", "/c:GET"]},
            {
                "name": "x3",
                "subject": [["role=a"]],
                "permissions": ["/d:PUT,GET"],
                "networks": ["192.0.2.7/24", "::ffff:10.0.0.0/104", "2001:db8::/32", "::/0"],
                "expires": NOON,
            },
        ]
        self.assertEqual(
            listed(build_policies(rules_).access(["role=a"]))["layers"],
            [
                {
                    "default": "deny",
                    "rules": [
                        {
                            "allow": [
                                {"resource": "/a", "verbs": ["GET"]},
                                {"resource": "/c", "verbs": ["GET"]},
                            ],
                            "deny": [{"resource": "/b", "verbs": ["*"], "ids": ["1", "2"]}],
                        },
                        {
                            "allow": [{"resource": "/d", "verbs": ["GET", "PUT"]}],
                            "deny": [],
                            "networks": ["192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32", "::/0"],
                            "expires": "2026-01-02T12:00:00Z",
                        },
                    ],
                }
            ],
        )

    def test_claims(self) -> None:
        """Claims are listed for conditions, which read them, and only then."""
        rule = {"name": "r", "subject": [["role=a"]], "permissions": ["/a:GET"]}
        claims = ["role=a", "role=b", "x=1"]
        [layer] = listed(build_policies([rule]).access(claims))["layers"]
        self.assertNotIn("claims", layer)
        rule |= {"when": "'b' in claims.role"}
        [layer] = listed(build_policies([rule]).access(claims))["layers"]
        self.assertEqual(layer["claims"], {"role": ["a", "b"], "x": ["1"]})
        self.assertEqual(layer["rules"][0]["when"], "'b' in claims.role")

    def test_hidden_claims_are_not_listed_S_LISTHIDE(self) -> None:
        """If a credential hides claims, the layer of its owner states denies, but no claim."""
        rules_ = [
            {"name": "a", "subject": [["role=a"]], "permissions": ["/a:GET"]},
            {"name": "b", "subject": [["role=b"]], "permissions": ["/b:GET", "-/a:GET"]},
            {"name": "w", "subject": [["role=b"]], "permissions": ["-/c:GET"], "when": "true"},
        ]
        policies = build_policies(rules_)
        _, owner = listed(policies.access(["role=a"], (), ["role=a", "role=b"]))["layers"]
        self.assertEqual((owner["default"], "claims" in owner), ("allow", False))
        self.assertEqual([each["allow"] for each in owner["rules"]], [[], []])
        rules_[0]["when"] = "'a' in claims.role"
        policies = build_policies(rules_)
        _, owner = listed(policies.access(["role=a"], (), ["role=a", "role=b"]))["layers"]
        self.assertEqual((owner["default"], "claims" in owner), ("deny", False))

    def test_too_long(self) -> None:
        """A list has a maximum length, so that it stays below a few megabytes."""
        self.patch(permission_list, "MOST_PERMISSIONS", 1)
        rule = {"name": "r", "subject": [["role=a"]], "permissions": ["/a:GET", "/b:GET"]}
        access = build_policies([rule]).access(["role=a"])
        self.assertRaises(permission_list.TooLong, listed, access)

    def test_every_limit_is_stated_S_LIST(self) -> None:
        """Each limit of a rule is stated in the list, so that no list allows more than the rule."""
        settled = {"name", "subject", "permissions", "number", "namespace", "targets"}
        settled |= {"disabled", "description"}
        limits = {each.name for each in attrs.fields(Rule)} - settled
        rule = build_rule(
            {
                "name": "r",
                "subject": [["role=a"]],
                "permissions": ["/a:GET"],
                "hosts": ["x.org"],
                "networks": ["192.0.2.0/24"],
                "methods": ["GET"],
                "times": Times(0, 3600),
                "not_before": 0.0,
                "expires": NOON,
                "when": "true",
                "require": Requirement(("gold",), 300),
            }
        )
        found = limits_of(rule)
        self.assertEqual({*found}, limits)
        self.assertEqual(found["require"], {"acr": ["gold"], "max_age": 300})
