"""Requests that the policies always allow, and that the fast path remembers."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.policy.policies import Access
from authotron.policy.rules import Request
from authotron.web.fastpath import sampling
from authotron.web.fastpath.allowed import ONE_IN, AlwaysAllowed
from authotron.web.fastpath.sampling import is_chosen
from tests import STREAMS
from tests.policy.building import build_policies

NAMES = some.sampled_from(["a", "b", "c", "secret"])
SEGMENTS = NAMES | some.sampled_from(["*", "**"])


def _pattern(sign: str, segments: list[str], end: str, verb: str) -> str:
    return f"{sign}/{'/'.join(segments)}{end}:{verb}"


PERMISSIONS = some.builds(
    _pattern,
    some.sampled_from(["", "", "-"]),
    some.lists(SEGMENTS, min_size=1, max_size=4),
    some.sampled_from(["", "", "/"]),
    some.sampled_from(["GET", "*"]),
) | some.sampled_from(["*:GET", "-*:POST", "**/secret:GET", "-**/secret:GET"])


def access_by(permissions: list[str]) -> Access:
    rule = {"name": "r", "subject": [["role=a"]], "permissions": permissions}
    return build_policies([rule]).access(["role=a"])


def remembering(access: Access, path: str) -> AlwaysAllowed:
    """Return an object that remembers a request, as the fast path does."""
    allowed = AlwaysAllowed()
    is_uniform = access.is_uniform(path, "/")
    allowed.add(access, b"GET", path.encode(), path, in_folder=is_uniform)
    return allowed


class AlwaysAllowedTests(SynchronousTestCase):
    """What is recognised after one request was remembered."""

    @settings(max_examples=STREAMS)
    @given(
        permissions=some.lists(PERMISSIONS, min_size=1, max_size=4),
        folder=some.lists(NAMES, max_size=3),
        names=some.tuples(NAMES, NAMES),
    )
    def test_allows_nothing_else(
        self, permissions: list[str], folder: list[str], names: tuple[str, str]
    ) -> None:
        """Whatever is recognised is allowed by the rules, too."""
        access = access_by(permissions)
        path, other = ("/".join(["", *folder, name]) for name in names)
        if not access.rule(Request(path, "GET"), 0).allows:
            return
        allowed = remembering(access, path)
        self.assertTrue(allowed.has(access, b"GET", path.encode()))
        if allowed.has(access, b"GET", other.encode()):
            self.assertTrue(access.rule(Request(other, "GET"), 0).allows)

    def test_folder(self) -> None:
        """Another path in the folder is recognised, with any query, and nothing that looks odd."""
        access = access_by(["/a/**:GET"])
        allowed = remembering(access, "/a/b/1")
        for uri, is_known in (
            (b"/a/b/2", True),
            (b"/a/b/2?x=/../", True),
            (b"/a/b/", False),
            (b"/a/b/..", False),
            (b"/a/b/%2e%2e", False),
            (b"/a/b/x;y", False),
            (b"/a/b/2/3", False),
            (b"/a/b", False),
            (b"//a/b/2", False),
        ):
            self.assertEqual(allowed.has(access, b"GET", uri), is_known, uri)
        self.assertFalse(allowed.has(access, b"POST", b"/a/b/2"))
        self.assertFalse(allowed.has(access_by(["/a/**:GET"]), b"GET", b"/a/b/2"))

    def test_named_in_the_folder(self) -> None:
        """If a rule names a path in the folder, only the remembered path is recognised."""
        for deny in ("-/a/secret:GET", "-/a/secret/**:GET", "-/a/*:PUT", "-**/secret:GET"):
            access = access_by(["/a/**:GET", deny])
            allowed = remembering(access, "/a/b")
            self.assertTrue(allowed.has(access, b"GET", b"/a/b"))
            self.assertFalse(allowed.has(access, b"GET", b"/a/secret"), deny)

    def test_odd_spelling(self) -> None:
        """A path that the proxy spells in another way is not remembered, nor is a long one."""
        access = access_by(["/**:GET"])
        allowed = AlwaysAllowed()
        long = "/a" * 200
        for uri, path in ((b"/%61", "/a"), (long.encode(), long)):
            allowed.add(access, b"GET", uri, path, in_folder=False)
            self.assertFalse(allowed.has(access, b"GET", uri))

    def test_other_policies(self) -> None:
        """What earlier policies allowed is forgotten, so that these take no memory."""
        earlier, later = access_by(["/**:GET"]), access_by(["/**:GET"])
        allowed: Any = remembering(earlier, "/a/b")
        allowed.add(later, b"GET", b"/a/b", "/a/b", in_folder=False)
        self.assertFalse(allowed.has(earlier, b"GET", b"/a/b"))
        self.assertTrue(allowed.has(later, b"GET", b"/a/b"))

    def test_bounded(self) -> None:
        """The number of remembered paths is limited."""
        access, allowed = access_by(["/**:GET"]), AlwaysAllowed()
        for number in range(5_000):
            uri = f"/a/{number}"
            allowed.add(access, b"GET", uri.encode(), uri, in_folder=False)
        known = sum(allowed.has(access, b"GET", f"/a/{n}".encode()) for n in range(4_900, 5_000))
        self.assertEqual(known, 100)
        self.assertLessEqual(len(allowed._paths), 2_000)

    def test_clients_that_take_turns(self) -> None:
        """
        However many clients take turns, one of which may do nothing, the requests of all others are
        soon remembered.
        """
        self.patch(sampling, "random", Random(1).random)
        for count, refused in ((2, 0), (2, 1), (10, 0), (10, 3), (16, 1), (48, 0), (48, 24)):
            roles = [f"role={number}" for number in range(count)]
            rules = [{"name": r, "subject": [[r]], "permissions": ["/**:GET"]} for r in roles]
            policies = build_policies(rules)
            accesses = [policies.access([role]) for role in roles]
            allowed = AlwaysAllowed()
            found: list[bool] = []
            for turn in range(200 * count):
                access, uri = accesses[turn % count], b"/a/%d" % turn
                found.append(allowed.has(access, b"GET", uri))
                is_refused = turn % count < refused
                if not (found[-1] or is_refused) and is_chosen(ONE_IN):
                    allowed.add(access, b"GET", uri, uri.decode(), in_folder=True)
            self.assertEqual(found[-count:], [False] * refused + [True] * (count - refused))

    def test_after_many_refusals(self) -> None:
        """After many requests in a row that are not in the cache, one in it is found again."""
        self.patch(sampling, "random", Random(1).random)
        access, other = access_by(["/a/**:GET"]), access_by(["/a/**:GET"])
        allowed = remembering(access, "/a/b")
        for _ in range(100):
            self.assertFalse(allowed.has(other, b"GET", b"/a/b"))
        found = []
        for _ in range(100):
            found.append(allowed.has(access, b"GET", b"/a/b"))
            self.assertFalse(allowed.has(other, b"GET", b"/a/b"))
        self.assertIn(True, found[:50])
        self.assertTrue(all(found[50:]))
