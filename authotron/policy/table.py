"""
The table of the rules that one identity can use in one namespace, arranged by the resources of the
permissions.

A request looks up the nodes for its resource: the node of the exact resource, those of matching
patterns, and the node for every resource. A node of the table holds first the permissions that
depend on the verb alone, already decided, and then those that depend on more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from authotron.model.authentication import Login
from authotron.policy.permissions import Permission
from authotron.policy.reasons import Reason
from authotron.policy.resources import ANY, DEEP, is_literal, split
from authotron.policy.rules import Asked, Claims, Rule
from authotron.policy.ruling import NOT_ALLOWED, Ruling, login_required


class _Entry(NamedTuple):
    """A permission that depends on more than the verb of a request."""

    ruling: Ruling
    rule: Rule
    permission: Permission


_Pair = tuple[Ruling | None, Ruling | None]
"""The first ruling that denies a request, and the first ruling that allows it."""

_NEITHER: _Pair = (None, None)

_NO_CLAIMS: Claims = {}


class _Node:
    """The permissions about one resource, or about one pattern of resources."""

    __slots__ = ("by_verb", "entries")

    def __init__(self) -> None:
        self.by_verb: dict[str, _Pair] = {}
        self.entries: list[_Entry] = []

    def add(self, entry: _Entry) -> None:
        """Add a permission to the node; permissions are added in the order of their rules."""
        ruling, rule, permission = entry
        if rule.is_conditional or permission.ids is not None:
            self.entries.append(entry)
            return
        for verb in permission.verbs:
            denies, allows = self.by_verb.get(verb, _NEITHER)
            if permission.denies:
                self.by_verb[verb] = denies or ruling, allows
            else:
                self.by_verb[verb] = denies, allows or ruling

    def with_(self, other: _Node) -> _Node:
        """Return a node with the permissions of this node and of another node."""
        found = _Node()
        found.entries = self.entries + other.entries
        found.by_verb = dict(self.by_verb)
        for verb, (denies, allows) in other.by_verb.items():
            before = found.by_verb.get(verb, _NEITHER)
            found.by_verb[verb] = _first(before[0], denies), _first(before[1], allows)
        return found

    def limited(
        self, asked: Asked, now: float, claims: Claims, login: Login | None
    ) -> Iterator[tuple[Ruling, Reason | None]]:
        """
        Yield the rulings of permissions that depend on more than the verb, each with the reason why
        it does not count; a deny that does not count is left out.
        """
        verb = asked.verb
        for ruling, rule, permission in self.entries:
            if not permission.counts_for(asked.id):
                continue
            if verb in permission.verbs or ANY in permission.verbs:
                obstacle = rule.obstacle(asked, now, claims, login, denies=permission.denies)
                if obstacle is None or ruling.allows:
                    yield ruling, obstacle


_BELOW = f"/{DEEP}"
"""The end of a pattern that matches everything below a resource."""


class _Branch:
    """
    A position in the patterns of resources: it says which segments may follow.

    @ivar stays: whether any further segment leads to this position again, because the pattern has
        C{**} here.
    @ivar ends: the node of the patterns that end at this position; in C{[1]} the node of those that
        end with a slash.
    @ivar tails: the nodes of the patterns that end at this position with C{**}, as in C{ends}.
    """

    __slots__ = ("any", "by_name", "deep", "ends", "stays", "tails")

    def __init__(self, *, stays: bool = False) -> None:
        self.by_name: dict[str, _Branch] = {}
        self.any: _Branch | None = None
        self.deep: _Branch | None = None
        self.stays = stays
        self.ends: list[_Node | None] = [None, None]
        self.tails: list[_Node | None] = [None, None]

    def child(self, segment: str) -> _Branch:
        """Return the position behind a segment of a pattern, which is created if necessary."""
        if segment == DEEP:
            self.deep = self.deep or _Branch(stays=True)
            return self.deep
        if segment == ANY:
            self.any = self.any or _Branch()
            return self.any
        return self.by_name.setdefault(segment, _Branch())

    def next(self, segment: str) -> Iterator[_Branch]:
        """Yield the positions that a segment of a resource leads to."""
        found = self.by_name.get(segment)
        if found is not None:
            yield from found.with_deep()
        if self.any is not None and segment:
            yield from self.any.with_deep()
        if self.stays:
            yield from self.with_deep()

    def with_deep(self) -> Iterator[_Branch]:
        """
        Yield this position, and the positions behind each C{**}, because C{**} may stand for no
        segment.
        """
        branch: _Branch | None = self
        while branch is not None:
            yield branch
            branch = branch.deep


class Table:
    """
    The table of the rules that one identity can use in one namespace.

    Most patterns are a single resource, or end with their only C{**}; these patterns are found by
    looking up the resource, and each part of it that ends before a slash. Patterns with
    wildcards elsewhere are compared with the resource at the same time, segment by segment.

    @ivar size: the number of permissions in the table.
    @ivar exact: the nodes of single resources, by the text of the resource.
    @ivar slashed: the nodes of paths that end with a slash, by the path without that slash.
    @ivar below: the nodes of patterns that end with their only C{**}, by the part of the pattern
        before it.
    @ivar depth: the maximum number of segments before the C{**} at the end of a pattern.
    @ivar patterns: the position in which all other patterns begin.
    @ivar every: the node of the pattern C{*}, which matches every resource.
    """

    __slots__ = ("below", "depth", "every", "exact", "patterns", "size", "slashed")

    def __init__(self, rules: Iterable[Rule]) -> None:
        """@param rules: the rules that the identity can use, in the order of the configuration."""
        self.exact: dict[str, _Node] = {}
        self.slashed: dict[str, _Node] = {}
        self.below: dict[str, _Node] = {}
        self.depth = 0
        self.patterns: tuple[_Branch, ...] = ()
        self.every: _Node | None = None
        self.size = 0
        for rule in rules:
            denied = Ruling(allows=False, reason=Reason.DENIED, rule=rule)
            allowed = Ruling(allows=True, reason=Reason.ALLOWED, rule=rule)
            for permission in rule.permissions:
                ruling = denied if permission.denies else allowed
                self._node(permission.resource).add(_Entry(ruling, rule, permission))
                self.size += 1

    @classmethod
    def together(cls, tables: Sequence[Table]) -> Table:
        """
        Return a table with the rules of several tables, which is faster than building a new one
        from the rules.
        """
        if len(tables) == 1:
            return tables[0]
        found = cls(())
        found.exact = _together([each.exact for each in tables])
        found.slashed = _together([each.slashed for each in tables])
        found.below = _together([each.below for each in tables])
        found.depth = max([each.depth for each in tables], default=0)
        found.patterns = tuple(start for each in tables for start in each.patterns)
        found.every = _together(
            [{} if each.every is None else {ANY: each.every} for each in tables]
        ).get(ANY)
        found.size = sum(each.size for each in tables)
        return found

    def _node(self, pattern: str) -> _Node:
        """Return the node of a pattern, which is created if it is missing."""
        if pattern == ANY:
            self.every = self.every or _Node()
            return self.every
        text, ends_in_slash = resource = split(pattern)
        if is_literal(pattern):
            nodes = self.slashed if ends_in_slash else self.exact
            return nodes.setdefault(text, _Node())
        above = text.removesuffix(_BELOW)
        if above != text and is_literal(above) and not ends_in_slash:
            self.depth = max(self.depth, above.count("/") + 1)
            return self.below.setdefault(above, _Node())
        self.patterns = self.patterns or (_Branch(),)
        branch = self.patterns[0]
        *segments, last = resource.segments
        for segment in segments:
            branch = branch.child(segment)
        ends = branch.tails if last == DEEP else branch.child(last).ends
        node = ends[ends_in_slash] = ends[ends_in_slash] or _Node()
        return node

    def _nodes(self, resource: str) -> list[_Node]:
        """Return the nodes of the permissions that apply to a resource."""
        found = [] if self.every is None else [self.every]
        text = resource
        if resource[-1:] == "/" and resource[0] == "/":
            text = resource[:-1]
            if (node := self.slashed.get(text)) is not None:
                found.append(node)
        if (node := self.exact.get(text)) is not None:
            found.append(node)
        if self.depth:
            below, end = self.below, -1
            for _ in range(self.depth):
                end = text.find("/", end + 1)
                if (node := below.get(text if end < 0 else text[:end])) is not None:
                    found.append(node)
                if end < 0:
                    break
        if self.patterns:
            segments = text.split("/")
            for start in self.patterns:
                found += _matching(start, segments, ends_in_slash=text != resource)
        return found

    def is_settled(self, resource: str) -> bool:
        """Return whether the ruling about a resource depends only on the verb."""
        return not any(node.entries for node in self._nodes(resource))

    def verbs(self, resource: str) -> set[str]:
        """Return the verbs that permissions about a resource name; C{*} stands for every verb."""
        nodes = self._nodes(resource)
        found = {verb for node in nodes for verb in node.by_verb}
        return found.union(*(entry.permission.verbs for node in nodes for entry in node.entries))

    def ids(self, resource: str) -> Iterator[Collection[str]]:
        """Yield the ids that each permission about a resource names."""
        for node in self._nodes(resource):
            for entry in node.entries:
                yield entry.permission.ids or ()

    def paths(self) -> Iterator[Collection[str]]:
        """Yield the paths that permissions name without a wildcard, and nothing for a name."""
        for text in self.exact:
            yield (text,) if text.startswith("/") else ()
        for text in self.slashed:
            yield (f"{text}/",)

    def rule(
        self,
        asked: Asked,
        now: float,
        claims: Claims = _NO_CLAIMS,
        login: Login | None = None,
    ) -> Ruling:
        """
        Apply the rules to a request; the ruling allows the request only if a rule allows it and no
        rule denies it.

        @param claims: the claims of the identity, which only conditions of rules read.
        @param login: what is known about the login of the client.
        """
        verb = asked.verb
        denial: Ruling | None = None
        grant: Ruling | None = None
        later: Ruling | None = None
        obstacles: set[Reason] | None = None
        for node in self._nodes(asked.resource):
            by_verb = node.by_verb
            for key in (verb, ANY):
                if key in by_verb:
                    denies, allows = by_verb[key]
                    denial, grant = _first(denial, denies), _first(grant, allows)
            if node.entries:
                for ruling, obstacle in node.limited(asked, now, claims, login):
                    if obstacle is Reason.LOGIN:
                        later = _first(later, ruling)
                    elif obstacle is not None:
                        obstacles = (obstacles or set()) | {obstacle}
                    elif ruling.allows:
                        grant = _first(grant, ruling)
                    else:
                        denial = _first(denial, ruling)
        if later is not None and denial is None and grant is None:
            assert later.rule is not None
            return login_required(later.rule)
        return denial or grant or NOT_ALLOWED[_nearest(obstacles)]


class SeveralTables:
    """
    The rules of several tables that are too large to be put together in one table.

    @ivar size: the number of permissions as which the object counts; its tables are shared with
        others.
    """

    __slots__ = ("_tables", "size")

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tuple(tables)
        self.size = len(self._tables)

    def is_settled(self, resource: str) -> bool:
        """Return whether the ruling about a resource depends on nothing but the verb."""
        return all(each.is_settled(resource) for each in self._tables)

    def verbs(self, resource: str) -> set[str]:
        """Return the verbs that permissions about a resource name; C{*} stands for every verb."""
        return set().union(*(each.verbs(resource) for each in self._tables))

    def ids(self, resource: str) -> Iterator[Collection[str]]:
        """Yield the ids that each permission about a resource names."""
        for each in self._tables:
            yield from each.ids(resource)

    def paths(self) -> Iterator[Collection[str]]:
        """Yield the paths that permissions name without a wildcard, and nothing for a name."""
        for each in self._tables:
            yield from each.paths()

    def rule(
        self,
        asked: Asked,
        now: float,
        claims: Claims = _NO_CLAIMS,
        login: Login | None = None,
    ) -> Ruling:
        """Apply the rules of all tables to a request, as if they were in one table."""
        denial: Ruling | None = None
        grant: Ruling | None = None
        later: Ruling | None = None
        obstacles: set[Reason] = set()
        for each in self._tables:
            found = each.rule(asked, now, claims, login)
            if found.allows:
                grant = _first(grant, found)
            elif found.reason is Reason.DENIED:
                denial = _first(denial, found)
            elif found.reason is Reason.LOGIN:
                later = _first(later, found)
            else:
                obstacles.add(found.reason)
        return denial or grant or later or NOT_ALLOWED[_nearest(obstacles)]


def _together(parts: Sequence[dict[str, _Node]]) -> dict[str, _Node]:
    """Return the nodes of several tables in one mapping."""
    largest = max(parts, key=len, default={})
    found = dict(largest)
    for part in parts:
        if part is largest:
            continue
        if found.keys().isdisjoint(part):
            found.update(part)
        else:
            for text, node in part.items():
                known = found.get(text)
                found[text] = node if known is None else known.with_(node)
    return found


def _first(one: Ruling | None, other: Ruling | None) -> Ruling | None:
    """
    Return the ruling of the rule that comes first in the configuration, or C{None} if there is no
    ruling.
    """
    if one is None or other is None:
        return one or other
    assert one.rule is not None
    assert other.rule is not None
    return other if other.rule.number < one.rule.number else one


def _nearest(obstacles: set[Reason] | None) -> Reason:
    """Of the reasons why rules did not allow a request, return the one that helps a client most."""
    if obstacles:
        for reason in (Reason.NETWORK, Reason.TIME, Reason.CONDITION):
            if reason in obstacles:
                return reason
    return Reason.NO_RULE


def _matching(start: _Branch, segments: list[str], *, ends_in_slash: bool) -> Iterator[_Node]:
    """
    Yield the nodes of the patterns that match the segments of a resource.

    All patterns are followed at the same time, segment by segment, so that the time depends on the
    number of segments and of patterns, not on how often a pattern could match.
    """
    ends = (0, 1) if ends_in_slash else (0,)
    branches = dict.fromkeys(start.with_deep())
    seen: set[int] = set()
    for segment in segments:
        yield from _tails(branches, ends, seen)
        branches = dict.fromkeys(after for branch in branches for after in branch.next(segment))
        if not branches:
            return
    yield from _tails(branches, ends, seen)
    for branch in branches:
        for end in ends:
            if (node := branch.ends[end]) is not None:
                yield node


def _tails(branches: Iterable[_Branch], ends: tuple[int, ...], seen: set[int]) -> Iterator[_Node]:
    """Yield the nodes of patterns whose C{**} stands for all remaining segments."""
    for branch in branches:
        for end in ends:
            node = branch.tails[end]
            if node is not None and id(node) not in seen:
                seen.add(id(node))
                yield node
