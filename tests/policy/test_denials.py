"""The claims on which denials of a policy depend."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.policy.denials import named_by_denials, named_by_expression
from authotron.policy.expressions import Expression
from authotron.policy.policies import Policies
from authotron.policy.rules import Group, Rule
from tests.policy.building import build_permissions, build_subject


def rule(permission: str, *tags: str, **more: Any) -> Rule:
    return Rule("r", build_subject([tags]), build_permissions([permission]), **more)


def condition(text: str) -> Expression:
    return Expression(text, frozenset(), None, lambda _reason: None)


class NamedTests(SynchronousTestCase):
    """Which claims a policy or an expression names."""

    def test_subjects(self) -> None:
        """Only rules that deny something, and that are not disabled, count."""
        found = named_by_denials(
            Policies(
                [
                    rule("-/x:*", "team=blue", "role=a"),
                    rule("/x:*", "email=b"),
                    rule("-/x:*", "site=c", disabled=True),
                ]
            )
        )
        self.assertEqual(
            [each in found for each in ("team", "role", "email", "site")], [1, 1, 0, 0]
        )

    def test_groups(self) -> None:
        """If a denial names a group, the claims of all groups count."""
        groups = [Group("g", build_subject([["email=x"], ["@group:name=h"]]))]
        self.assertIn("email", named_by_denials(Policies([rule("-/x:*", "@group:name=g")], groups)))
        self.assertNotIn("email", named_by_denials(Policies([rule("-/x:*", "team=a")], groups)))

    def test_conditions(self) -> None:
        """The condition of a denial names the claims that it reads."""
        found = named_by_denials(
            Policies([rule("-/x:*", "realm=a", when=condition('"b" in claims.email'))])
        )
        self.assertEqual(found.keys, {"realm", "email"})

    def test_expressions(self) -> None:
        """An expression may name claims in several ways."""
        for text, keys in (
            ('claims.email == ["a"]', {"email"}),
            ('"x" in claims["my team"]', {"my team"}),
            ("'x' in claims['t']", {"t"}),
            ('"email" in claims && claims.site[0] == "b"', {"email", "site"}),
            ("has(claims.email)", {"email"}),
            ('request.method == "GET"', set()),
        ):
            found = named_by_expression(text)
            self.assertEqual((found.keys, found.are_all), (keys, False), text)

    def test_any_claim(self) -> None:
        """An expression that reads claims by a computed key names them all."""
        for text in (
            "claims.exists(k, k == 'a')",
            "claims[request.host] == ['a']",
            "size(claims) > 3",
            "request.host in claims",
        ):
            self.assertIn("anything", named_by_expression(text), text)
