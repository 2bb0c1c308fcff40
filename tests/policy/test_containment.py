"""Whether permissions cover others."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.policy import containment
from authotron.policy.containment import contains
from authotron.policy.rules import Request
from tests import STREAMS
from tests.policy import naive
from tests.policy.building import build_permissions
from tests.policy.test_policies import REQUESTS, permission_strings

LISTS = some.lists(permission_strings(), min_size=1, max_size=3)


def allows(texts: list[str], request: Request) -> bool:
    fitting = [each for each in build_permissions(texts) if naive.fits(each, request)]
    return bool(fitting) and not any(each.denies for each in fitting)


class ContainsTests(SynchronousTestCase):
    """Permissions that cover others, and that do not."""

    @settings(max_examples=STREAMS * 5)
    @given(held=LISTS, asked=LISTS, request=REQUESTS)
    def test_covers_every_request(
        self, held: list[str], asked: list[str], request: Request
    ) -> None:
        """What contains other permissions allows each request that these allow."""
        if contains(build_permissions(held), build_permissions(asked)):
            self.assertTrue(allows(held, request) or not allows(asked, request))

    def test_patterns(self) -> None:
        """A pattern covers narrower patterns, and several patterns may cover one together."""
        for held, asked, is_covered in (
            (["/a/**:*"], ["/a/*:GET", "/a:POST"], True),
            (["/a/*:*"], ["/a/**:GET"], False),
            (["/a/*:GET", "/a/*/**:POST"], ["/a/*:GET,POST"], True),
            (["/a/**:*", "-/a/*/x:*"], ["/a/**:GET"], False),
            (["/a/**:*", "-/a/*/x:*"], ["/a/**:GET", "-/a/b/x:GET"], False),
            (["/a/**:*", "-/a/*/x:*"], ["/a/**:GET", "-/a/**/x:GET"], True),
            (["/a/:GET"], ["/a:GET"], False),
            (["/a:GET"], ["/a/:GET"], True),
        ):
            with self.subTest(held=held, asked=asked):
                found = contains(build_permissions(held), build_permissions(asked))
                self.assertEqual(found, is_covered)

    def test_too_many_combinations(self) -> None:
        """Permissions whose patterns would take too long to compare are not covered."""
        held, asked = build_permissions(["/**:*"]), build_permissions(["/a/*/b:GET"])
        self.assertTrue(contains(held, asked))
        self.patch(containment, "_MOST_STEPS", 3)
        self.assertFalse(contains(held, asked))

    def test_too_many_ids(self) -> None:
        """Permissions with too many verbs and ids on one resource are not covered."""
        texts = [f"/a:V{each}:{each}" for each in range(10)]
        held = build_permissions(texts)
        self.assertTrue(contains(held, held))
        self.patch(containment, "_MOST_STEPS", 10 * 20)
        self.assertFalse(contains(held, held))

    def test_many_literal_paths_take_few_steps(self) -> None:
        """The steps of a comparison grow like the number of literal paths, not like its cube."""
        held = build_permissions([f"/a{each}/b:GET" for each in range(200)])
        self.patch(containment, "_MOST_STEPS", 200 * 30)
        self.assertTrue(contains(held, held))
        self.assertFalse(contains(held[1:], held))
