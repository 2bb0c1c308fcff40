"""What identities may do by all rules together."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.authentication import Login
from authotron.model.identity import Identity
from authotron.policy import index as index_module
from authotron.policy import policies as policies_module
from authotron.policy.claims import Source
from authotron.policy.policies import Policies
from authotron.policy.reasons import Reason
from authotron.policy.requirements import Requirement
from authotron.policy.rules import Request
from authotron.policy.ruling import Ruling
from authotron.policy.times import Times
from tests import STREAMS
from tests.policy import naive
from tests.policy.building import build_group, build_policies, build_restriction, build_rule

NOON = 1_767_355_200.0
"""Friday, 2 January 2026, 12:00 UTC."""

SEGMENTS = some.sampled_from(["a", "b", "*", "**", "c"])
NAMES = some.sampled_from(["a", "b", "c", "d", "*", "**"])
NAMESPACES = some.sampled_from(["/", "/data", "/data/old", "/database"])
TAGS = some.sampled_from(["role=a", "role=b", "realm=x", "@group:name=g0", "@group:name=g1"])
CLAIMS = ["role=a", "role=b", "realm=x", "@group:name=g0"]
VERBS = some.lists(some.sampled_from(["GET", "POST", "*"]), min_size=1, max_size=2)
TIMES = some.sampled_from([None, None, Times(end=3600), Times(start=7200, end=3600)])
MOMENTS = some.sampled_from([None, None, 0.0, NOON, NOON + 1])


REQUIREMENTS = some.sampled_from(
    [None, None, Requirement(("gold",)), Requirement(("gold", "silver"), 300), Requirement((), 60)]
)
LOGINS = some.none() | some.builds(
    Login,
    some.sampled_from([None, "gold", "silver", "Gold"]),
    some.none() | some.sampled_from([NOON - each for each in (-61, -60, 0, 60, 61, 300, 301)]),
)


def _path(segments: list[str], end: str) -> str:
    return "/" + "/".join(segments) + (end if segments else "")


PATHS = some.builds(_path, some.lists(SEGMENTS, max_size=4), some.sampled_from(["", "", "/"]))
PATTERNS = PATHS | some.sampled_from(["*", "**", "a", "*/a", "a/**"])
ASKED = some.builds(_path, some.lists(NAMES, max_size=5), some.sampled_from(["", "", "/"]))


@some.composite
def permission_strings(draw: some.DrawFn) -> str:
    ids = draw(some.sampled_from(["", "", "", ":1", ":1,2"]))
    sign = draw(some.sampled_from(["", "", "-"]))
    return f"{sign}{draw(PATTERNS)}:{','.join(draw(VERBS))}{ids}"


def subjects(tags: some.SearchStrategy[str]) -> some.SearchStrategy[Any]:
    return some.lists(some.lists(tags, min_size=1, max_size=2), min_size=1, max_size=2)


@some.composite
def rules(draw: some.DrawFn, number: int) -> dict[str, Any]:
    namespace = draw(NAMESPACES)
    targets = draw(some.lists(NAMESPACES, max_size=2))
    return {
        "name": f"r{number}",
        "namespace": namespace,
        "targets": [each for each in targets if naive.within(each, namespace)],
        "subject": draw(subjects(TAGS)),
        "permissions": draw(some.lists(permission_strings(), min_size=1, max_size=3)),
        "hosts": draw(some.sampled_from([[], [], [], ["x.org"]])),
        "networks": draw(some.sampled_from([[], [], ["192.0.2.0/24"], ["2001:db8::/32"]])),
        "methods": draw(some.sampled_from([None, None, ["GET"]])),
        "times": draw(TIMES),
        "not_before": draw(MOMENTS),
        "expires": draw(MOMENTS),
        "disabled": draw(some.sampled_from([False, False, False, True])),
        "require": draw(REQUIREMENTS),
    }


@some.composite
def groups(draw: some.DrawFn) -> list[dict[str, Any]]:
    """Draw two groups, of which the second one may refer to the first one."""
    inner = some.sampled_from(["role=a", "role=b", "realm=x"])
    return [
        {
            "name": f"g{number}",
            "namespace": draw(NAMESPACES),
            "subject": draw(subjects(inner | some.just("@group:name=g0") if number else inner)),
            "weight": draw(some.integers(-2, 2)) * 2 + number,
            "disabled": draw(some.sampled_from([False, False, True])),
        }
        for number in range(draw(some.integers(0, 2)))
    ]


REQUESTS = some.builds(
    Request,
    ASKED | some.sampled_from(["*", "a", "a/b", "b/a"]),
    some.sampled_from(["GET", "POST", "*", "get"]),
    some.sampled_from([None, "1", "3"]),
    some.sampled_from(["/", "/data", "/data/old", "/data/old/x", "/dat"]),
    some.sampled_from(["x.org", "y.org"]),
    some.sampled_from([None, "192.0.2.7", "198.51.100.7", "2001:db8::7"]),
)


def ruled(
    permissions: list[str], resource: str, verb: str = "GET", now: float = NOON, **more: Any
) -> Ruling:
    """Return the ruling about an identity with one rule."""
    facts = {key: more.pop(key) for key in ("namespace", "address", "host") if key in more}
    rule = {"name": "r", "subject": [["role=a"]], "permissions": permissions, **more}
    asked = Request(resource, verb, **facts)
    return build_policies([rule]).access(["role=a"]).rule(asked, now)


class CompiledTests(SynchronousTestCase):
    """The compiled rules against rules that are read one by one."""

    @settings(max_examples=STREAMS)
    @given(data=some.data())
    def test_equal_to_reading_every_rule(self, data: some.DataObject) -> None:
        """The compiled rules give the same ruling, for the same reason, by the same rule."""
        given_rules = [data.draw(rules(number)) for number in range(data.draw(some.integers(0, 5)))]
        given_groups = data.draw(groups())
        heaviest, allows = data.draw(some.booleans()), data.draw(some.sampled_from([False, True]))
        policies = build_policies(
            given_rules, given_groups, heaviest=heaviest, allows_by_default=allows
        )
        large, most = data.draw(some.sampled_from([(2_000, 20_000), (2, 20_000), (2_000, 2)]))
        self.patch(index_module, "LARGE", large)
        self.patch(policies_module, "_MOST_TOGETHER", most)
        claims = data.draw(some.lists(some.sampled_from(CLAIMS), unique=True))
        login = data.draw(LOGINS)
        access = policies.access(claims, login=login)
        for _ in range(6):
            request, now = data.draw(REQUESTS), data.draw(some.sampled_from([NOON, NOON - 40_000]))
            found = access.rule(request, now)
            expected = naive.ruled(
                [build_rule(each, number) for number, each in enumerate(given_rules)],
                [build_group(each, number) for number, each in enumerate(given_groups)],
                claims,
                request,
                now,
                heaviest=heaviest,
                allows_by_default=allows,
                login=login,
            )
            name = found.rule.name if found.rule else ""
            self.assertEqual((found.allows, found.reason, name), expected)


class SlashTests(SynchronousTestCase):
    """A slash at the end of a path."""

    def test_does_not_hide_a_deny(self) -> None:
        """A request for C{/a/} is a request for C{/a}, whether a rule denies or allows it."""
        self.assertIs(ruled(["*:*", "-/a:GET"], "/a/").reason, Reason.DENIED)
        self.assertIs(ruled(["*:*", "-/a/**:GET"], "/a/").reason, Reason.DENIED)
        self.assertTrue(ruled(["/a:GET"], "/a/").allows)
        self.assertTrue(ruled(["/**:GET"], "/").allows)

    def test_of_a_rule(self) -> None:
        """A rule that ends with a slash is about requests that do, too."""
        self.assertTrue(ruled(["/a/:GET"], "/a/").allows)
        self.assertFalse(ruled(["/a/:GET"], "/a").allows)
        self.assertTrue(ruled(["/a/**/:GET"], "/a/b/").allows)
        self.assertFalse(ruled(["/a/**/:GET"], "/a/b").allows)
        self.assertTrue(ruled(["/:GET"], "/").allows)
        self.assertFalse(ruled(["/:GET"], "/a/").allows)


class PatternTests(SynchronousTestCase):
    """The segments C{*} and C{**}."""

    def test_deep(self) -> None:
        """C{/a/**} covers C{/a} and all that is below it, but not what only begins like it."""
        for path, is_covered in (("/a", True), ("/a/b/c", True), ("/ab", False), ("/", False)):
            self.assertEqual(ruled(["/a/**:GET"], path).allows, is_covered, path)

    def test_deep_in_the_middle(self) -> None:
        """C{**} between other segments stands for any number of them."""
        for path, is_covered in (("/a/z", True), ("/a/b/c/z", True), ("/a/b", False)):
            self.assertEqual(ruled(["/a/**/z:GET"], path).allows, is_covered, path)

    def test_long_path(self) -> None:
        """A path of many segments is followed once, however often a pattern could match."""
        patterns = [f"{'/**/a' * count}/z:GET" for count in range(1, 9)]
        self.assertFalse(ruled(patterns, "/a" * 2_000).allows)

    def test_letter_by_letter(self) -> None:
        """Case counts, and so does the spelling of a letter."""
        self.assertFalse(ruled(["/A:GET"], "/a").allows)
        self.assertFalse(ruled(["/a:get"], "/a").allows)
        self.assertFalse(ruled(["caf\u00e9:GET"], "cafe\u0301").allows)


class IdTests(SynchronousTestCase):
    """Permissions with ids."""

    def test_no_id(self) -> None:
        """A deny with ids does not touch a request without an id, nor does an allow."""
        self.assertTrue(ruled(["/a:GET", "-/a:GET:1"], "/a").allows)
        self.assertFalse(ruled(["/a:GET:1"], "/a").allows)


class NearMissTests(SynchronousTestCase):
    """Why a request is denied that another client, or another moment, would be allowed."""

    def test_network(self) -> None:
        """An allow for other networks is the reason, as is an unknown address."""
        for address in ("198.51.100.1", None):
            found = ruled(["/a:GET"], "/a", networks=["192.0.2.0/24"], address=address)
            self.assertEqual((found.allows, found.reason), (False, Reason.NETWORK))

    def test_time(self) -> None:
        """A rule counts from C{not_before} until C{expires}, which is the first moment after."""
        for now, is_allowed in ((9.0, False), (10.0, True), (19.0, True), (20.0, False)):
            found = ruled(["/a:GET"], "/a", now=now, not_before=10.0, expires=20.0)
            self.assertEqual(found.allows, is_allowed)
            self.assertIs(found.reason, Reason.ALLOWED if is_allowed else Reason.TIME)

    def test_unknown_address_hurts_nothing_else(self) -> None:
        """Without an address a deny for networks does not hold, and other rules decide."""
        found = ruled(["-/a:GET"], "/a", networks=["192.0.2.0/24"])
        self.assertIs(found.reason, Reason.NO_RULE)


class TimesTests(SynchronousTestCase):
    """Times of the day."""

    def test_zone(self) -> None:
        """The hours are those of the zone, in summer and in winter."""
        times = Times(start=6 * 3600, end=20 * 3600, zone=ZoneInfo("Europe/Berlin"))
        winter, summer = 1_767_229_200.0, 1_782_864_000.0  # 2026-01-01 01:00, 2026-07-01 00:00 UTC
        moments = [
            winter + 4 * 3600 - 1,
            winter + 4 * 3600,
            summer + 4 * 3600 - 1,
            summer + 4 * 3600,
        ]
        self.assertEqual([times.holds(each) for each in moments], [False, True, False, True])

    def test_over_midnight(self) -> None:
        """A span that ends before it starts belongs to the day on which it starts."""
        times = Times(start=22 * 3600, end=6 * 3600, days=frozenset({4}), zone=ZoneInfo("UTC"))
        friday, day = NOON - 12 * 3600, 86_400
        self.assertFalse(times.holds(friday + 3600))
        self.assertTrue(times.holds(friday + 23 * 3600))
        self.assertTrue(times.holds(friday + day + 3600))
        self.assertFalse(times.holds(friday + day + 23 * 3600))


class NamespaceTests(SynchronousTestCase):
    """The namespace of a request."""

    def test_malformed(self) -> None:
        """A request of a malformed namespace is denied, even where everything is allowed."""
        policies = Policies([], allows_by_default=True)
        for text in ("", "data", "/data/", "//data", "/data//x", "/ data", "*"):
            found = policies.access([]).rule(Request("/a", "GET", namespace=text), NOON)
            self.assertEqual((found.allows, found.reason), (False, Reason.NAMESPACE), text)

    def test_segments(self) -> None:
        """A namespace is below another one by whole segments."""
        rule = {"name": "r", "subject": [["role=a"]], "permissions": ["*:*"], "namespace": "/data"}
        access = build_policies([rule]).access(["role=a"])
        allowed = [
            text
            for text in ("/", "/data", "/data/x", "/database", "/Data")
            if access.rule(Request("/a", "GET", namespace=text), NOON).allows
        ]
        self.assertEqual(allowed, ["/data", "/data/x"])


class GroupTests(SynchronousTestCase):
    """Groups and the tags that they give."""

    def test_claim_of_a_group(self) -> None:
        """A claim that is named like a group puts an identity in no group."""
        rule = {"name": "r", "subject": [["@group:name=ops"]], "permissions": ["*:*"]}
        access = build_policies([rule]).access(["@group:name=ops", "role=a"])
        self.assertFalse(access.rule(Request("/a", "GET"), NOON).allows)

    def test_equally_heavy(self) -> None:
        """Of several groups that weigh the same the first one counts."""
        given_groups = [{"name": name, "subject": [["role=a"]]} for name in ("one", "two")]
        for name, is_allowed in (("one", True), ("two", False)):
            rule = {"name": "r", "subject": [[f"@group:name={name}"]], "permissions": ["*:*"]}
            policies = build_policies([rule], given_groups, heaviest=True)
            found = policies.access(["role=a"]).rule(Request("/a", "GET"), NOON)
            self.assertEqual(found.allows, is_allowed)

    def test_circle(self) -> None:
        """Groups that refer to each other in a circle are refused, and so is a group in itself."""
        for names in (["a", "b"], ["a"]):
            given_groups = [
                {"name": name, "subject": [[f"@group:name={names[number - 1]}"]]}
                for number, name in enumerate(names)
            ]
            with self.assertRaisesRegex(ValueError, "circle"):
                build_policies([], given_groups)


class RestrictionTests(SynchronousTestCase):
    """Restrictions of a credential."""

    def allows(self, permissions: list[str], *restrictions: dict[str, Any]) -> bool:
        rule = {"name": "r", "subject": [["role=a"]], "permissions": permissions}
        sets = tuple(map(build_restriction, restrictions))
        access = build_policies([rule]).access(["role=a"], sets)
        return access.rule(Request("/a", "GET"), NOON).allows

    def test_takes_away_only(self) -> None:
        """A restriction lends nothing, and lifts no deny."""
        self.assertFalse(self.allows(["/b:GET"], {"permissions": ["*:*"]}))
        self.assertFalse(self.allows(["*:*", "-/a:GET"], {"permissions": ["*:*"]}))
        self.assertFalse(self.allows(["*:*"], {"permissions": ["/b:GET"]}))

    def test_all_must_allow(self) -> None:
        """Each of several restrictions must allow the request."""
        one, other = {"permissions": ["/a:GET"]}, {"permissions": ["/a:*", "-/a:GET"]}
        self.assertTrue(self.allows(["*:*"], one))
        self.assertFalse(self.allows(["*:*"], one, other))


class ManyTests(SynchronousTestCase):
    """Many rules."""

    def test_tables_are_bounded(self) -> None:
        """The tables of many identities are discarded when they have too many permissions."""
        names = [f"role={number}" for number in range(100)]
        policies = build_policies(
            [{"name": each, "subject": [[each]], "permissions": ["*:*"]} for each in names]
        )
        self.patch(policies_module, "_MOST_PERMISSIONS", 50)
        for name in names:
            self.assertTrue(policies.access([name]).rule(Request("/a", "GET"), NOON).allows)
        self.assertLess(policies.kept, 60)

    def test_tags_count_T83a(self) -> None:
        """What tells apart the tables of identities counts, also if the tables are empty."""
        tags = [f"role={number}" for number in range(100)]
        subject = [[each, "role=none"] for each in tags]
        policies = build_policies([{"name": "a", "subject": subject, "permissions": ["*:*"]}])
        self.assertFalse(policies.access(tags).rule(Request("/a", "GET"), NOON).allows)
        self.assertGreater(policies.kept, 100)


class ConditionTests(SynchronousTestCase):
    """Rules with a condition."""

    def test_hidden_claims(self) -> None:
        """A credential that hides a claim escapes no deny whose condition reads the claim."""
        rules = [
            {"name": "all", "subject": [["role=a"]], "permissions": ["*:*"]},
            {
                "name": "suspended",
                "subject": [["role=a"]],
                "permissions": ["-*:*"],
                "when": 'has(claims.status) && "suspended" in claims.status',
            },
        ]
        whole = ["role=a", "status=suspended"]
        policies = build_policies(rules)
        for claims, unrestricted, allows in (
            (["role=a"], None, True),
            (whole, None, False),
            (["role=a"], whole, False),
        ):
            found = policies.access(claims, (), unrestricted).rule(Request("/a", "GET"), NOON)
            self.assertEqual(found.allows, allows)

    def test_groups_are_no_claims(self) -> None:
        """A condition cannot read a claim that is named like a group."""
        when = 'has(claims["@group:name"])'
        rule = {"name": "r", "subject": [["role=a"]], "permissions": ["*:*"]}
        self.assertRaises(ValueError, build_policies, [{**rule, "when": when}])
        policies = build_policies([{**rule, "when": '"@group:name" in claims'}])
        access = policies.access(["role=a", "@group:name=ops"])
        self.assertFalse(access.rule(Request("/a", "GET"), NOON).allows)

    def test_memory(self) -> None:
        """What is kept of the claims of an identity counts, and is kept for conditions alone."""
        rule = {"name": "r", "subject": [["role=a"]], "permissions": ["*:*"]}
        claims = ["role=a", "email=" + "x" * 5_000]
        sizes = [
            build_policies([{**rule, **when}]).access(claims).__sizeof__()
            for when in ({}, {"when": "has(claims.email)"})
        ]
        self.assertLess(sizes[0], 1_000)
        self.assertGreater(sizes[1], 5_000)


class MemoryTests(SynchronousTestCase):
    """How long policies stay in memory."""

    def test_discarded(self) -> None:
        """Discarded policies are freed without a garbage collection, from which they are exempt."""
        gc.disable()
        self.addCleanup(gc.enable)
        policies = Policies(())
        found, identity, source = ref(policies), Identity("r", "u"), Source("t", "n", "i")
        access = policies.access_of(identity, source)
        self.assertIs(policies.access_of(identity, source), access)
        del policies, access
        self.assertIsNone(found())
