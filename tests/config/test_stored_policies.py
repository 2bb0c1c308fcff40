"""The document with the policies in a token store."""

from __future__ import annotations

import json
import zlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import stored_policies
from authotron.config.policy import Policy
from authotron.config.policy_section import PolicyConfig
from authotron.config.stored_policies import Change, StoredPolicies
from authotron.model.errors import ConfigError
from authotron.model.policy_document import PolicyDocument
from tests.config.cases import ConfigCase

RULE: dict[str, Any] = {"name": "r", "subject": [["role=a"]], "permissions": ["/a:GET"]}
GROUP: dict[str, Any] = {"name": "g", "subject": [["role=\u2603"]]}
GIVEN = {"rules": [RULE], "groups": [GROUP]}


def signed(content: bytes, version: int = 1) -> PolicyDocument:
    """Return a document with some content and the right hash."""
    return PolicyDocument(f"{version}-{stored_policies._hash(content)}", content)


class DocumentTests(SynchronousTestCase):
    """How policies are written and read."""

    def test_same(self) -> None:
        """What is stored is read again, in the order of the labels, with the next number."""
        labels = {"b": GIVEN, "a": {"rules": [RULE], "groups": []}}
        stored = StoredPolicies("7-x", labels)
        document = stored.following()
        found = stored_policies.decode(document)
        self.assertEqual((found.version, found.labels), (8, labels))
        self.assertEqual(found.state, document.state)

    def test_none(self) -> None:
        """Without a document there are no policies, of version 0."""
        found = stored_policies.decode(None)
        self.assertEqual((found.version, found.state, found.labels), (0, None, {}))

    def test_with_label(self) -> None:
        """Rules of one label are replaced as a whole, and those of others stay."""
        stored = StoredPolicies(None, {"a": GIVEN, "b": GIVEN})
        changed = stored.with_label("b", {"rules": [], "groups": [GROUP]})
        self.assertEqual(changed.labels, {"a": GIVEN, "b": {"rules": [], "groups": [GROUP]}})
        self.assertEqual(stored.with_label("a", {"rules": []}).labels, {"b": GIVEN})

    def test_damaged_S_POLICYSTORE(self) -> None:
        """A damaged or foreign document is refused, whatever is wrong."""
        good = StoredPolicies(None, {"a": GIVEN}).following()
        form = b'{"form": 1}'
        for document in (
            PolicyDocument("", b""),
            PolicyDocument(good.state, good.content[:-1]),
            PolicyDocument("2" + good.state[1:], b""),
            PolicyDocument("x", good.content),
            signed(b""),
            signed(b"\x00" * 99),
            signed(good.content[:-1]),
            signed(zlib.compress(b"")),
            signed(zlib.compress(b"[1]")),
            signed(zlib.compress(form + b"\nnull")),
            signed(zlib.compress(form + b"\n" + b"[" * 100_000)),
            signed(zlib.compress(form + b'\n["a", "roles", {}]')),
            signed(zlib.compress(form + b'\n[["a"], "rules", {}]')),
            signed(zlib.compress(form + b"\n\xff")),
            signed(zlib.compress(form + b'\n["a", "rules", {}]')),
            signed(zlib.compress(form + b'\n["a", "rules", {"name": 5}]')),
            signed(zlib.compress(form + b'\n["a\\n", "rules", {"name": "r"}]')),
            signed(zlib.compress(form + b'\n["a", "rules", ["name"]]')),
        ):
            error = self.assertRaises(ConfigError, stored_policies.decode, document)
            self.assertIn("is damaged", f"{error}".replace("was written by a newer", "is damaged"))

    def test_newer_S_POLICYSTORE(self) -> None:
        """A document of a newer version is refused, and said to be one."""
        newer = signed(zlib.compress(json.dumps({"form": 2}).encode()))
        error = self.assertRaises(ConfigError, stored_policies.decode, newer)
        self.assertIn("written by a newer version of authotron", str(error))

    def test_bomb_S_POLICYSTORE(self) -> None:
        """A document that decompresses to more than the limit is refused after the limit."""
        self.patch(stored_policies, "LARGEST", 1_000)
        bomb = signed(zlib.compress(b'{"form": 1}' + b" " * 1_000_000))
        error = self.assertRaises(ConfigError, stored_policies.decode, bomb)
        self.assertIn("is damaged", str(error))

    def test_too_large_S_POLICYSTORE(self) -> None:
        """Policies that are larger than the limit cannot be written."""
        self.patch(stored_policies, "LARGEST", 50)
        error = self.assertRaises(ConfigError, StoredPolicies(None, {"a": GIVEN}).following)
        self.assertIn("are larger than 50 bytes", str(error))


class TogetherTests(SynchronousTestCase):
    """Stored rules beside those of the configuration."""

    def together(self, **labels: Any) -> Policy:
        local = Policy(PolicyConfig(), (), ())
        return stored_policies.together(local, StoredPolicies("1-x", labels))

    def test_all_count(self) -> None:
        """All rules count, and may refer to groups of other labels."""
        rule = {**RULE, "subject": [["@group:name=g"]]}
        found = self.together(a={"rules": [rule]}, b={"groups": [GROUP]})
        self.assertEqual([each.name for each in found.rules], ["r"])
        self.assertEqual([each.name for each in found.groups], ["g"])

    def test_problems(self) -> None:
        """All problems of all labels are reported with their labels."""
        for labels, expected in (
            (
                {"a": {"rules": [{**RULE, "networks": ["x"]}]}, "b": {"rules": [5]}},
                ("label a.rules[0].networks[0]: ", "label b.rules[0]: must be a mapping"),
            ),
            ({"a": GIVEN, "b": {"rules": [RULE]}}, ("label b.rules[0].name: another one",)),
            (
                {
                    "a": {"groups": [{"name": "x", "subject": [["@group:name=y"]]}]},
                    "b": {"groups": [{"name": "y", "subject": [["@group:name=x"]]}]},
                },
                ("label a.groups[0].subject: ", "label b.groups[0].subject: "),
            ),
        ):
            error = self.assertRaises(ConfigError, self.together, **labels)
            found = [str(each) for each in error.problems]
            self.assertEqual(len(found), len(expected), found)
            for each, begin in zip(found, expected, strict=True):
                self.assertTrue(each.startswith(begin), each)


class ChangesTests(SynchronousTestCase):
    """The differences of two sets of rules."""

    def test_changes(self) -> None:
        """Created, changed and deleted rules and groups are named; the order does not matter."""
        old = {"rules": [RULE, {**RULE, "name": "s"}], "groups": [GROUP]}
        new = {
            "rules": [{**RULE, "name": "t"}, {**RULE, "name": "s"}, {**RULE, "hosts": ["h"]}],
            "groups": [],
        }
        self.assertEqual(
            [*stored_policies.changes(old, new)],
            [
                Change("rule", "t", "created"),
                Change("rule", "r", "changed", ["hosts"]),
                Change("group", "g", "deleted"),
            ],
        )
        self.assertEqual([*stored_policies.changes(old, old)], [])


class SectionTests(ConfigCase):
    """The key C{policy.store}."""

    def test_needs_a_store(self) -> None:
        """The key needs a token store that a command can reach."""
        policy = {"store": True}
        self.assertIn("policy.store: needs a token store;", self.problem(policy=policy))
        memory = {"type": "memory"}
        self.assertIn("of another type than memory", self.problem(policy=policy, store=memory))
        off = {"type": "redis", "enabled": False}
        self.assertIn("policy.store: needs a token store;", self.problem(policy=policy, store=off))
        self.assertIsNotNone(self.changed(policy=policy, store={"type": "redis"}).policy)

    def test_recheck(self) -> None:
        """The gateway may not look more than once in a second."""
        self.assertIn("policy.recheck", self.problem(policy={"recheck": "0.5s"}))

    def test_warnings(self) -> None:
        """Rules and groups that may be in the token store are not missed."""
        rule = {**RULE, "subject": [["@group:name=elsewhere"]]}
        for store, number in ((True, 0), (False, 1)):
            for rules in ((), (rule,)):
                found = self.changed(
                    policy={"store": store, "rules": rules}, store={"type": "redis"}
                )
                warnings = [each for each in found.warnings if "policy" in each]
                self.assertEqual(len(warnings) - len([w for w in warnings if "trust" in w]), number)
