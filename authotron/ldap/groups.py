"""Which groups count, and what roles they are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from attrs import define, frozen
from twisted.logger import Logger

from authotron.ldap import filters
from authotron.ldap.dn import InvalidDn, Name, fold_dn, parse_dn
from authotron.ldap.filters import FilterTemplate

_log = Logger()
_TYPE = re.compile(r"(^|[,;+]\s*)([A-Za-z][A-Za-z0-9-]*)(?=\s*=)")


@frozen
class Group:
    """A group by its name."""

    dn: str
    name: Name


def read(dns: Iterable[str]) -> list[Group]:
    """The groups that have a name at all."""
    return [group for group in map(_read, dns) if group is not None]


def _read(dn: str) -> Group | None:
    try:
        return Group(dn, parse_dn(dn))
    except InvalidDn:
        _log.warn("group {dn} is left out: its name cannot be read", dn=dn, event="ldap.group.bad")
        return None


def common_name(group: Group) -> Iterator[str]:
    """
    The first common name, unless it looks like a path.

    A group without one is called like the one it is in, as auth-o-tron does; C{tests/conformance}
    has that recorded.
    """
    common = next(filter(None, (part.value_of("cn") for part in group.name)), None)
    if common is not None:
        yield from _sound(group, common, root="")


def path_from(group: Group, top: int) -> Iterator[str]:
    """The way from one of its ancestors, the root being the last, down to its own common name."""
    if top < 0 or not group.name[0].value_of("cn"):  # its parent's name is not its own
        return
    steps = [part.value() for part in reversed(group.name[: top + 1])]
    if any("/" in step or not step.strip() for step in steps):
        _leave_out(group)
    else:
        yield from _sound(group, "/".join(["", *steps]), root="/")


def _sound(group: Group, role: str, root: str) -> Iterator[str]:
    """A role, unless it pretends to be a path or could not be printed."""
    if role.strip() and role.isprintable() and role.startswith("/") == bool(root):
        yield role
    else:
        _leave_out(group)


def _leave_out(group: Group) -> None:
    _log.warn(
        "group {dn} is left out: no role may be called so", dn=group.dn, event="ldap.group.unsound"
    )


class GroupRule(Protocol):
    """Decides about groups that are known by their DN."""

    def roles(self, group: Group) -> Iterator[str]:
        """What the group is called, if it counts; it may count more than once."""


@define(eq=False)
class AllGroups:
    """Every group, by its common name."""

    def roles(self, group: Group) -> Iterator[str]:
        return common_name(group)


@define(eq=False)
class DnContains:
    """
    Groups whose DN, as it is written, contains a text; by their common name.

    Only the names of attributes may differ in case. A text that begins with one fits where a step
    of the DN begins, and not inside a value.
    """

    _text: str

    def roles(self, group: Group) -> Iterator[str]:
        text, dn = _shouted(self._text), _shouted(group.dn)
        if _TYPE.match(text):
            fits = any(dn.startswith(text, part.start) for part in group.name)
        else:
            fits = text in dn
        return common_name(group) if fits else iter(())


def _shouted(dn: str) -> str:
    """A DN in which the names of attributes are in capitals."""
    return _TYPE.sub(lambda found: found[0].upper(), dn)


@define(eq=False)
class DnBelow:
    """Groups at or below a piece of a DN, however that is turned; by their path from there."""

    _pieces: Sequence[Name]

    @classmethod
    def read(cls, texts: Iterable[str]) -> DnBelow:
        """
        Read the pieces.

        @raise BadName: one of them is none.
        """
        pieces = [parse_dn(text) for text in texts]
        if not all(pieces):
            raise InvalidDn("there is nothing in it")
        return cls(pieces)

    def roles(self, group: Group) -> Iterator[str]:
        """One role for each piece that fits."""
        whole = fold_dn(group.name)
        for piece in self._pieces:
            wanted = fold_dn(piece)
            top = _top(whole, wanted)
            if top is None:
                top = _top(whole, wanted[::-1])
            if top is not None:
                yield from path_from(group, top)


def _top(whole: Sequence[object], piece: Sequence[object]) -> int | None:
    """Where a run of neighbours ends that equals C{piece}; the nearest to the leaf."""
    size = len(piece)
    for start in range(len(whole) - size + 1):
        if tuple(whole[start : start + size]) == tuple(piece):
            return start + size - 1
    return None


@frozen
class GroupSearch:
    """Groups that a search finds, each under its name, or as the path from below the base."""

    search: FilterTemplate
    as_path: bool

    def roles(self, group: Group, base: Name) -> Iterator[str]:
        if self.as_path:
            inside = fold_dn(group.name[-len(base) :]) == fold_dn(base)
            return path_from(group, len(group.name) - len(base) - 1) if inside else iter(())
        return common_name(group)


@frozen
class GroupRules:
    """
    Everything that decides about groups.

    @ivar listed: by the DNs that the user's entry holds.
    @ivar searches: by searches.
    @ivar broken: why nothing can be decided.
    """

    listed: tuple[GroupRule, ...] = ()
    searches: tuple[GroupSearch, ...] = ()
    error: str | None = None

    def roles_of_memberships(self, dns: Sequence[str]) -> list[str]:
        """The roles of groups that an entry is in."""
        found = read(dns)
        return [role for group in found for rule in self.listed for role in rule.roles(group)]

    @staticmethod
    def roles_of_search(search: GroupSearch, dns: Sequence[str], base: str) -> list[str]:
        """The roles of groups that a search has found."""
        top = parse_dn(base)
        return [role for group in read(dns) for role in search.roles(group, top)]


def is_partial_dn(text: str) -> bool:
    """Whether it may be a piece of a DN."""
    try:
        return bool(parse_dn(text))
    except InvalidDn:
        return False


def group_rules(text: str | None, texts: Sequence[str] | None) -> GroupRules:
    """What C{filter} and C{filters} mean. Without both every group counts."""
    searches = [
        GroupSearch(filters.parse(each), as_path)
        for each, as_path in [(text, False), *((each, True) for each in texts or ())]
        if each is not None and filters.is_template(each)
    ]
    pieces = [each for each in texts or () if not filters.is_template(each)]
    bad = [each for each in pieces if not is_partial_dn(each)]
    if bad:
        return GroupRules(error=f"{bad[0]!r} is no piece of a DN")
    listed: list[GroupRule] = []
    if text is not None and not filters.is_template(text):
        listed.append(DnContains(text))
    if pieces:
        listed.append(DnBelow.read(pieces))
    if text is None and texts is None:
        listed.append(AllGroups())
    return GroupRules(tuple(listed), tuple(searches))
