"""Permissions that have no effect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.policy import containment
from authotron.policy.analysis import Oddity, without_effect
from authotron.policy.containment import contains
from authotron.policy.resources import may_overlap
from tests.policy.building import build_permissions, build_rule

PATTERNS = (
    *("*", "a", "/", "/a", "/a/", "/b", "/*", "/*/", "/**", "/a/*", "/a/**", "/a/**/", "/**/b"),
    *("/a/**/b", "/*/b", "/a/b/c", "/a/*/c", "**", "**/b", "*/b"),
)


class WithoutEffectTests(SynchronousTestCase):
    """Rules that are compared with each other."""

    def test_many_literal_paths_take_few_steps(self) -> None:
        """Each permission is compared only with those that can be about the same paths."""
        texts = [f"/a{each}/b:GET" for each in range(200)]
        rules = [
            build_rule({"name": name, "subject": [["role=a"]], "permissions": texts}, number)
            for number, name in enumerate(("first", "second"))
        ]
        self.patch(containment, "_MOST_STEPS", 60)
        found = [*without_effect(rules)]
        self.assertEqual([str(each.permission) for each in found], texts)
        self.assertEqual(
            {(each.rule, each.oddity) for each in found}, {(rules[1], Oddity.SHADOWED)}
        )


class OverlapTests(SynchronousTestCase):
    """Patterns that may be about the same resource."""

    def test_patterns_that_cannot_overlap(self) -> None:
        """Patterns that differ before or behind each C{**} match no common resource."""
        for one, other in (
            ("/a", "/b"),
            ("/a", "/a/b"),
            ("/a/**", "/b"),
            ("/**/a", "/b/c"),
            ("/*", "/a/b"),
            ("*/b", "/b"),
            ("a", "/a"),
        ):
            self.assertFalse(may_overlap(one, other), (one, other))
            self.assertFalse(may_overlap(other, one), (other, one))

    def test_overlap_is_found(self) -> None:
        """A permission whose pattern cannot overlap with another one never covers it."""
        for one in PATTERNS:
            for other in PATTERNS:
                denied = build_permissions(["*:*", f"-{one}:*"])
                # What is denied has a resource in common with what is asked for.
                if not contains(denied, build_permissions([f"{other}:GET"])):
                    self.assertTrue(may_overlap(one, other), (one, other))
