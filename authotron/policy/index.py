"""
Build an index of the rules of a policy, in which the rules for an identity are looked up by its
tags (claims and groups).

Rules with the same subject form one block. Each block of rules is indexed by one of the tags
(claims and groups) that its subject requires. So an identity is compared only with blocks that are
indexed by a tag of the identity.
"""

from __future__ import annotations

from attrs import define, field

from authotron.policy.rules import Rule
from authotron.policy.subjects import Subject, Tags
from authotron.policy.table import Table

LARGE = 2_000
"""
Number of permissions at which the lookup table of a block of rules is built at once; the table of a
smaller block is built when an identity first uses it.
"""


@define(eq=False)
class Block:
    """
    A block of rules that apply to the same identities and namespaces.

    @ivar needed: one set of tags from the subject of each rule.
    @ivar size: the number of permissions of all rules in the block.
    """

    needed: Tags
    rules: list[Rule] = field(factory=list)
    size: int = 0
    _table: Table | None = None

    def add(self, rule: Rule) -> None:
        """
        Add a rule to the block; its number must be greater than the numbers of all rules added
        before.
        """
        self.rules.append(rule)
        self.size += len(rule.permissions)
        if self._table is not None:
            self._table.add(rule)
        elif self.size >= LARGE:
            self._table = Table(self.rules)

    @property
    def table(self) -> Table:
        """
        The lookup table of the rules in the block; a small table is built when an identity first
        uses the block.
        """
        if self._table is None:
            self._table = Table(self.rules)
        return self._table


@define(eq=False)
class Index:
    """
    An index of the rules that are not disabled, by the tags (claims and groups) of identities.

    @ivar tags: each tag (claim or group) that a rule or a group names. All identities share the
        strings of these tags, to save memory.
    @ivar known: the tags that rules and groups name, by the keys and values of the tags.
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
        """
        Add a rule to the index, unless the rule is disabled; rules are added in the order of the
        configuration.
        """
        if rule.disabled:
            return
        self.name(rule.subject)
        self.has_conditions = self.has_conditions or rule.when is not None
        self.has_requirements = self.has_requirements or rule.require is not None
        for needed in dict.fromkeys(rule.subject):
            self._block(needed, rule).add(rule)

    def name(self, subject: Subject) -> None:
        """Add the tags that the subject of a rule or group names to the set of known tags."""
        for needed in subject:
            for tag in needed:
                if tag not in self.tags:
                    self.tags[tag] = tag
                    key, _, value = tag.partition("=")
                    self.known.setdefault(key, {})[value] = tag

    def _block(self, needed: Tags, rule: Rule) -> Block:
        """
        Return the block of rules for the identities and namespaces of a rule; if there is none,
        create the block.

        A new block of rules is indexed by the one of its tags by which the fewest blocks are
        indexed so far.
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
        """
        Return the blocks of rules that apply to identities with the given tags in a
        namespace.
        """
        by_tag = self._by_tag
        return [
            each
            for tag in tags
            if tag in by_tag
            for each in by_tag[tag]
            if each.needed <= tags and each.rules[0].counts_in(namespace)
        ]
