"""
Arranges the rules of a configuration once, so that the rules for an identity are looked up by its
tags.

Rules with the same subject are one block. Each block is indexed by one of the tags that it needs,
so an identity is compared only with the blocks that one of its own tags leads to.
"""

from __future__ import annotations

from attrs import define, field

from authotron.policy.rules import Rule
from authotron.policy.subjects import Subject, Tags
from authotron.policy.table import Table

LARGE = 2_000
"""Number of permissions from which on the table of a block is built before any identity uses it."""


@define(eq=False)
class Block:
    """
    Rules for the same identities and namespaces.

    @ivar needed: one set of tags from the subject of each rule.
    @ivar size: the number of permissions of all rules.
    """

    needed: Tags
    rules: list[Rule] = field(factory=list)
    size: int = 0
    _table: Table | None = None

    def add(self, rule: Rule) -> None:
        """Add a rule, whose number is greater than the numbers of all rules before."""
        self.rules.append(rule)
        self.size += len(rule.permissions)
        if self._table is not None:
            self._table.add(rule)
        elif self.size >= LARGE:
            self._table = Table(self.rules)

    @property
    def table(self) -> Table:
        """The table of the rules, which is built for the first identity if it is small."""
        if self._table is None:
            self._table = Table(self.rules)
        return self._table


@define(eq=False)
class Index:
    """
    The rules that are not disabled, indexed by tags.

    @ivar tags: each tag that a rule or a group names. All identities share these strings, which
        takes less memory than strings of their own.
    @ivar known: the same tags, by their keys and values.
    @ivar has_conditions: whether any rule has a condition that may read claims.
    @ivar has_requirements: whether any rule requires a login of some kind.
    """

    tags: dict[str, str] = field(factory=dict, init=False)
    known: dict[str, dict[str, str]] = field(factory=dict, init=False)
    has_conditions: bool = field(default=False, init=False)
    has_requirements: bool = field(default=False, init=False)
    _by_tag: dict[str, list[Block]] = field(factory=dict, init=False, repr=False)
    _blocks: dict[tuple[Tags, str, tuple[str, ...]], Block] = field(
        factory=dict, init=False, repr=False
    )

    def add(self, rule: Rule) -> None:
        """Add a rule, unless it is disabled; rules are added in the order of the configuration."""
        if rule.disabled:
            return
        self.name(rule.subject)
        self.has_conditions = self.has_conditions or rule.when is not None
        self.has_requirements = self.has_requirements or rule.require is not None
        for needed in dict.fromkeys(rule.subject):
            self._block(needed, rule).add(rule)

    def name(self, subject: Subject) -> None:
        """Add the tags of the subject of a rule or group."""
        for needed in subject:
            for tag in needed:
                if tag not in self.tags:
                    self.tags[tag] = tag
                    key, _, value = tag.partition("=")
                    self.known.setdefault(key, {})[value] = tag

    def _block(self, needed: Tags, rule: Rule) -> Block:
        """
        Return the block of the rules for the same identities and namespaces.

        A new block is indexed by that of its tags which leads to the fewest blocks so far.
        """
        key = needed, rule.namespace, rule.targets
        found = self._blocks.get(key)
        if found is None:
            found = self._blocks[key] = Block(needed)
            by_tag = self._by_tag
            rarest = min(needed, key=lambda tag: (len(by_tag.get(tag, ())), tag))
            by_tag.setdefault(rarest, []).append(found)
        return found

    def fitting(self, tags: Tags, namespace: str) -> list[Block]:
        """Return the blocks of the rules that identities with some tags can use in a namespace."""
        by_tag = self._by_tag
        return [
            each
            for tag in tags
            if tag in by_tag
            for each in by_tag[tag]
            if each.needed <= tags and each.rules[0].counts_in(namespace)
        ]
