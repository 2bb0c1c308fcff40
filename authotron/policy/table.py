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
from authotron.policy.patterns import Patterns
from authotron.policy.permissions import Permission
from authotron.policy.reasons import Reason
from authotron.policy.resources import ANY, DEEP, Resource, is_literal, split
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
    """
    The permissions about one resource, or about one pattern of resources.

    @ivar by_verb: the rulings about each verb that a permission names.
    @ivar others: the rulings about verbs that no permission names.
    """

    __slots__ = ("by_verb", "entries", "others")

    def __init__(self) -> None:
        self.by_verb: dict[str, _Pair] = {}
        self.others = _NEITHER
        self.entries: list[_Entry] = []

    def add(self, entry: _Entry) -> None:
        """Add a permission to the node; permissions are added in the order of their rules."""
        ruling, rule, permission = entry
        if rule.is_conditional or permission.ids is not None:
            self.entries.append(entry)
            return
        pair = (ruling, None) if permission.denies else (None, ruling)
        if permission.has_any_verb:
            self.others = _both(self.others, pair)
        for verb in self.by_verb if permission.has_any_verb else permission.verbs:
            self.by_verb[verb] = _both(self.about(verb), pair)

    def about(self, verb: str) -> _Pair:
        """Return the rulings about requests with a given verb."""
        return self.by_verb.get(verb, self.others)

    def with_(self, other: _Node) -> _Node:
        """Return a node with the permissions of this node and of another node."""
        found = _Node()
        found.entries = self.entries + other.entries
        found.others = _both(self.others, other.others)
        for verb in (*self.by_verb, *other.by_verb):
            found.by_verb[verb] = _both(self.about(verb), other.about(verb))
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


class Table:
    """
    The table of the rules that one identity can use in one namespace.

    Most patterns are a single resource, or end with their only C{**}; these patterns are found by
    looking up the resource, and each part of it that ends before a slash. Patterns with other
    wildcards are looked up by the part before the first wildcard; the remainder of the pattern is
    compared with the resource segment by segment.

    @ivar size: the number of permissions in the table.
    @ivar exact: the nodes of single resources, by the text of the resource.
    @ivar slashed: the nodes of paths that end with a slash, by the path without that slash.
    @ivar below: the nodes of patterns that end with their only C{**}, by the part of the pattern
        before it.
    @ivar wild: the nodes of the patterns with wildcards that do not end with their only C{**}, by
        the text of the pattern.
    @ivar rests: the remainder of each pattern in C{wild} after its part without wildcards, by this
        part.
    @ivar anywhere: the patterns of resources in C{wild} that begin with a wildcard.
    @ivar folders: the folders of all keys in C{exact}, C{slashed}, C{below} and C{rests}: the
        folder of a key is the part before its last slash.
    @ivar depth: the maximum number of segments of the keys in C{below} and C{rests}.
    @ivar every: the node of the pattern C{*}, which matches every resource.
    """

    __slots__ = (
        "anywhere",
        "below",
        "depth",
        "every",
        "exact",
        "folders",
        "rests",
        "size",
        "slashed",
        "wild",
    )

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        """@param rules: the rules that the identity can use, in the order of the configuration."""
        self.exact: dict[str, _Node] = {}
        self.slashed: dict[str, _Node] = {}
        self.below: dict[str, _Node] = {}
        self.folders: set[str] = set()
        self.depth = 0
        self.wild: dict[str, _Node] = {}
        self.rests: dict[str, Patterns[_Node]] = {}
        self.anywhere: Patterns[_Node] | None = None
        self.every: _Node | None = None
        self.size = 0
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        """
        Add a rule to the table; its number must be greater than the numbers of all rules added
        before.
        """
        denied = Ruling(allows=False, reason=Reason.DENIED, rule=rule)
        allowed = Ruling(allows=True, reason=Reason.ALLOWED, rule=rule)
        for permission in rule.permissions:
            ruling = denied if permission.denies else allowed
            self._node(permission.resource).add(_Entry(ruling, rule, permission))
        self.size += len(rule.permissions)

    @classmethod
    def together(cls, tables: Sequence[Table]) -> Table:
        """
        Return a table with the rules of several tables, which is faster than building a new one
        from the rules.
        """
        if len(tables) == 1:
            return tables[0]
        found = cls()
        found.exact = _together([each.exact for each in tables])
        found.slashed = _together([each.slashed for each in tables])
        found.below = _together([each.below for each in tables])
        found.folders.update(*[each.folders for each in tables])
        found.depth = max([each.depth for each in tables], default=0)
        found.wild = _together([each.wild for each in tables])
        for pattern, node in found.wild.items():
            found._place(split(pattern), node)
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
            self.folders.add(_folder(text))
            nodes = self.slashed if ends_in_slash else self.exact
            return nodes.setdefault(text, _Node())
        above = text.removesuffix(_BELOW)
        if above != text and is_literal(above) and not ends_in_slash:
            self.folders.add(_folder(above))
            self.depth = max(self.depth, above.count("/") + 1)
            return self.below.setdefault(above, _Node())
        node = self.wild.get(pattern)
        if node is None:
            node = self.wild[pattern] = _Node()
            self._place(resource, node)
        return node

    def _place(self, pattern: Resource, node: _Node) -> None:
        """Register the node of a pattern with a wildcard, so that lookups find the node."""
        segments = pattern.segments
        first = next(place for place, each in enumerate(segments) if each in (ANY, DEEP))
        if first:
            self.depth = max(self.depth, first)
            before = "/".join(segments[:first])
            self.folders.add(_folder(before))
            patterns = self.rests.setdefault(before, Patterns())
        else:
            patterns = self.anywhere = self.anywhere or Patterns()
        patterns.put(segments[first:], node, ends_in_slash=pattern.ends_in_slash)

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
        below, rests, end = self.below, self.rests, -1
        for _ in range(self.depth):
            end = text.find("/", end + 1)
            part = text if end < 0 else text[:end]
            if (node := below.get(part)) is not None:
                found.append(node)
            if rests and (patterns := rests.get(part)) is not None:
                left = 0 if end < 0 else text.count("/", end)
                if left >= patterns.least:
                    segments = text[end + 1 :].split("/") if left else ()
                    found += patterns.matching(segments, ends_in_slash=text != resource)
            if end < 0:
                break
        if self.anywhere is not None:
            found += self.anywhere.matching(text.split("/"), ends_in_slash=text != resource)
        return found

    def is_settled(self, resource: str) -> bool:
        """Return whether the ruling about a resource depends only on the verb."""
        return not any(node.entries for node in self._nodes(resource))

    def is_uniform(self, resource: str) -> bool:
        """
        Return whether the ruling about each resource directly in the folder of a resource is the
        same, and depends only on the verb.

        The answer is false if a pattern names a resource in the folder, or if a wildcard could
        match only some resources in the folder.
        """
        if _folder(resource) in self.folders or self.anywhere is not None:
            return False
        segments = resource.split("/")
        for place in range(1, len(segments)):
            patterns = self.rests.get("/".join(segments[:place]))
            if patterns is not None and patterns.least <= len(segments) - place:
                return False
        return self.is_settled(resource)

    def verbs(self, resource: str) -> set[str]:
        """
        Return the verbs that permissions about a resource name; the verb C{*} stands for every
        verb.
        """
        nodes = self._nodes(resource)
        found = {verb for node in nodes for verb in node.by_verb}
        if any(node.others != _NEITHER for node in nodes):
            found.add(ANY)
        return found.union(*(entry.permission.verbs for node in nodes for entry in node.entries))

    def ids(self, resource: str) -> Iterator[Collection[str]]:
        """Yield the ids that each permission about a resource names."""
        for node in self._nodes(resource):
            for entry in node.entries:
                yield entry.permission.ids or ()

    def paths(self) -> Iterator[Collection[str]]:
        """
        Yield the paths without wildcards that permissions name; resources that are not paths are
        left out.
        """
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
            denies, allows = node.by_verb.get(verb, node.others)
            if denies is not None:
                denial = _first(denial, denies)
            if allows is not None:
                grant = _first(grant, allows)
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

    def is_uniform(self, resource: str) -> bool:
        """Return whether all resources in a folder have the same ruling, as in a single table."""
        return all(each.is_uniform(resource) for each in self._tables)

    def verbs(self, resource: str) -> set[str]:
        """
        Return the verbs that permissions about a resource name; the verb C{*} stands for every
        verb.
        """
        return set().union(*(each.verbs(resource) for each in self._tables))

    def ids(self, resource: str) -> Iterator[Collection[str]]:
        """Yield the ids that each permission about a resource names."""
        for each in self._tables:
            yield from each.ids(resource)

    def paths(self) -> Iterator[Collection[str]]:
        """
        Yield the paths without wildcards that permissions name; resources that are not paths are
        left out.
        """
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


def _folder(resource: str) -> str:
    """Return the part of a resource before its last slash."""
    return resource.rpartition("/")[0]


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


def _both(one: _Pair, other: _Pair) -> _Pair:
    """
    Merge two pairs of rulings: of both pairs, return the first ruling that denies and the first
    ruling that allows.
    """
    return _first(one[0], other[0]), _first(one[1], other[1])


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
