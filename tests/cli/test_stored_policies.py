"""C{authotron policy apply} on a store in memory; tests/functional has it with real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from authotron.cli import stored_policies as command
from authotron.cli.stored_policies import _Result, _Wish
from authotron.config import check, stored_policies
from authotron.model.errors import ConfigError, Unavailable
from authotron.model.policy_document import PolicyDocument
from authotron.stores.memory import MemoryStore
from authotron.testing.worlds import world
from authotron.tokens.bounded_store import StoreClient
from tests.cli.cases import CommandCase
from tests.config.cases import BASE, laid_over

READ: dict[str, Any] = {"name": "read", "subject": [["role=a"]], "permissions": ["/a:GET"]}
WRITE = {**READ, "name": "write", "permissions": ["/a:PUT"]}
GROUP = {"name": "boss", "subject": [["role=b"]]}


class Contested(MemoryStore):
    """
    A store whose policies another command changes.

    @ivar between: called before each attempt to replace the policies.
    """

    between: Callable[[], object] = staticmethod(lambda: None)

    async def replace_policies(self, new: PolicyDocument, earlier: str | None) -> bool:
        self.between()
        return await super().replace_policies(new, earlier)


class ApplyTests(CommandCase):
    """What is stored, and what is not."""

    def setUp(self) -> None:
        super().setUp()
        self.store = Contested()
        self.over: dict[str, Any] = {"store": {"type": "redis"}}

    def work(self, label: str, *rules: Any, **wish: Any) -> Deferred[_Result]:
        config = check.check(laid_over(BASE, self.over))
        assert config.store is not None
        given = {"rules": rules, "groups": wish.pop("groups", ())}
        settings = {"expected": None, "replaces_all": False, "is_trial": False, **wish}
        client = StoreClient(self.store, config.store, world().clock)
        wished = _Wish(label, given, **settings)
        return Deferred.fromCoroutine(command._apply(wished, config, client))

    def apply(self, label: str, *rules: Any, **wish: Any) -> tuple[int, bool, list[str]]:
        """Return the version, whether something was stored, and the changes."""
        found = self.successResultOf(self.work(label, *rules, **wish))
        changes = [f"{each.how} {each.kind} {each.name}" for each in found.changes]
        return found.version, found.applied, changes

    def refused(self, label: str, *rules: Any, **wish: Any) -> str:
        failure = self.failureResultOf(self.work(label, *rules, **wish), ConfigError, Unavailable)
        return str(failure.value)

    def labels(self) -> dict[str, list[str]]:
        """Return the names of what is stored."""
        stored = stored_policies.decode(self.store._policies)
        return {
            label: [each["name"] for kind in ("rules", "groups") for each in given.get(kind, ())]
            for label, given in stored.labels.items()
        }

    def test_declared(self) -> None:
        """A label has afterwards what was declared, and other labels are left alone."""
        self.assertEqual(self.apply("a", READ), (1, True, ["created rule read"]))
        self.assertEqual(self.apply("b", WRITE, groups=[GROUP])[:2], (2, True))
        changed = {**READ, "permissions": ["/b:GET"]}
        self.assertEqual(self.apply("a", changed), (3, True, ["changed rule read"]))
        self.assertEqual(self.labels(), {"a": ["read"], "b": ["write", "boss"]})
        self.assertEqual(self.apply("b", groups=[GROUP]), (4, True, ["deleted rule write"]))
        self.assertEqual(self.apply("a"), (5, True, ["deleted rule read"]))
        self.assertEqual(self.labels(), {"b": ["boss"]})

    def test_nothing_to_change(self) -> None:
        """What is stored already is not stored again, so no gateway reads it again."""
        self.apply("a", READ)
        before = self.store._policies
        self.assertEqual(self.apply("a", READ), (1, False, []))
        self.assertIs(self.store._policies, before)

    def test_first_empty_set(self) -> None:
        """An empty set is stored if none was ever stored, so that gateways know the policies."""
        self.assertEqual(self.apply("a"), (1, True, []))
        self.assertEqual(self.apply("a"), (1, False, []))

    def test_dry_run_Q_APPLY(self) -> None:
        """A dry run checks everything, names the changes and stores nothing."""
        found = self.apply("a", READ, is_trial=True)
        self.assertEqual(found, (0, False, ["created rule read"]))
        self.assertIn("permissions[0]", self.refused("a", {**READ, "permissions": ["x"]}))
        self.assertIsNone(self.store._policies)

    def test_names_are_unique_Q_APPLY(self) -> None:
        """No rule may have the name of a rule of another label, or of the configuration."""
        self.apply("b", READ)
        self.assertIn("label b.rules[0].name: another one", self.refused("a", READ))
        self.over["policy"] = {"rules": [WRITE], "store": True}
        self.assertIn("label a.rules[0].name: another one", self.refused("a", WRITE))
        self.assertEqual(self.labels(), {"b": ["read"]})

    def test_warnings(self) -> None:
        """A configuration that does not use the store is warned of, and unknown groups are."""
        rule = {**READ, "subject": [["@group:name=boss"]]}
        found = self.successResultOf(self.work("a", rule))
        first, second = found.warnings
        self.assertIn("policy.store: not true", first)
        self.assertIn("refers to @group:name=boss, which does not exist", second)
        self.over["policy"] = {"store": True}
        self.assertEqual(self.successResultOf(self.work("b", groups=[GROUP])).warnings, [])

    def test_expected_version_Q_APPLY(self) -> None:
        """With an expected version nothing is stored on top of another one."""
        self.apply("a", READ, expected=0)
        reason = self.refused("b", WRITE, expected=0)
        self.assertIn("has version 1, and not the expected version 0", reason)
        self.assertEqual(self.apply("b", WRITE, expected=1)[0], 2)

    def interrupt(self, *others: Callable[[], object]) -> None:
        """Let other commands work before the next attempts to store."""
        left = [*others]
        self.store.between = lambda: left.pop(0)() if left else None

    def test_other_label_at_once_Q_APPLY(self) -> None:
        """What another command changes at the same time is not lost."""
        self.apply("a", READ)
        other = {**READ, "name": "other"}
        self.interrupt(lambda: self.apply("b", other), lambda: self.apply("c", GROUP and WRITE))
        third = {**READ, "name": "third"}
        self.assertEqual(self.apply("a", READ, third), (4, True, ["created rule third"]))
        wanted = {"a": ["read", "third"], "b": ["other"], "c": ["write"]}
        self.assertEqual(self.labels(), wanted)

    def test_same_label_at_once_Q_APPLY(self) -> None:
        """If another command changes the same label at the same time, one of the two stops."""
        self.apply("a", READ)
        self.interrupt(lambda: self.apply("a", READ, WRITE))
        reason = self.refused("a", {**READ, "hosts": ["h"]})
        self.assertIn("another command changes label a at the same time", reason)
        self.assertEqual(self.labels(), {"a": ["read", "write"]})

    def test_never_quiet_Q_APPLY(self) -> None:
        """A command gives up if others change the policies all the time."""
        numbers = iter(range(1_000))

        def change() -> None:
            before = stored_policies.decode(self.store._policies)
            rule = {**READ, "name": f"r{next(numbers)}"}
            self.store._policies = before.with_label("b", {"rules": [rule]}).following()

        self.interrupt(*[change] * 100)
        self.assertIn("all the time", self.refused("a", READ))

    def test_unreadable(self) -> None:
        """A document that cannot be read is kept, unless all labels are to be replaced."""
        self.store._policies = PolicyDocument("7-x", b"damaged")
        self.assertIn("is damaged", self.refused("a", READ))
        self.assertEqual(self.apply("a", READ, replaces_all=True)[:2], (8, True))
        self.apply("b", WRITE)
        found = self.apply("a", READ, replaces_all=True)
        self.assertEqual(found, (10, True, ["deleted rule write"]))

    def test_usage(self) -> None:
        """Mistakes on the command line are refused before the store is opened."""
        empty = self.folder / "empty.yaml"
        empty.write_text("rules: []\n")
        path = self.file(**self.over)
        for words, expected in (
            (("--label", "a"), "name FILES, or give --delete"),
            (("--label", "a", "--delete", str(empty)), "name FILES, or give --delete"),
            (("--label", "a", str(empty)), "FILES have no rules and no groups"),
            (("--label", "-x", "--delete"), "is not a label"),
            (("--label", "a b", "--delete"), "is not a label"),
            (("--label", "x" * 65, "--delete"), "is not a label"),
        ):
            result = self.run_command("policy", "apply", "-c", path, *words)
            self.assertEqual(result.exit_code, 2, words)
            self.assertIn(expected, result.stderr)
        broken = self.folder / "broken.yaml"
        broken.write_text("rules: [{name: x}]\n")
        result = self.run_command("policy", "apply", "-c", path, "--label", "a", str(broken))
        self.assertEqual(result.exit_code, 78)
        self.assertIn("subject: is missing", result.stderr)
