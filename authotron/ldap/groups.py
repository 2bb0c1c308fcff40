"""
Decide which directory groups of a user count, and which roles these groups become.

The configuration keys C{filter} and C{filters} are those of auth-o-tron, the original in Rust, and
keep its meaning: C{filter} is a text that the DN of a group contains (L{DnContains}), C{filters} is
a list of partial DNs; groups at or below them count (L{DnBelow}). auth-o-tron's documentation also
shows LDAP searches in both keys, so a value in parentheses with a placeholder is a search
(L{GroupSearch}). Without the configuration keys C{filter} and C{filters} every group counts
(L{AllGroups}).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from attrs import define, frozen
from twisted.logger import Logger

from authotron.ldap.dn import InvalidDn, Name, fold_dn, parse_dn
from authotron.ldap.filter_parser import is_template, parse_filter
from authotron.ldap.filters import FilterTemplate

_log = Logger()
_ATTRIBUTE_TYPE = re.compile(r"(^|[,;+]\s*)([A-Za-z][A-Za-z0-9-]*)(?=\s*=)")


@frozen
class Group:
    """
    A group of a directory.

    @ivar dn: the DN of the group, as the directory writes it.
    @ivar name: the parsed DN of the group.
    """

    dn: str
    name: Name


def parse_groups(dns: Iterable[str]) -> list[Group]:
    """Parse the DNs of groups; log and leave out the invalid ones."""
    return [group for group in map(_parse_group, dns) if group is not None]


def _parse_group(dn: str) -> Group | None:
    try:
        return Group(dn, parse_dn(dn))
    except InvalidDn:
        _log.warn("LDAP group {dn} ignored: the DN is invalid", dn=dn, event="ldap.group.bad")
        return None


def common_name(group: Group) -> Iterator[str]:
    """
    Yield the common name of a group as its role; yield nothing if the name contains a slash,
    because the role would look like a path.

    A group without a common name gets the common name of the nearest entry above, as in
    auth-o-tron. A case in C{tests/conformance} records the role that auth-o-tron gives to a group
    without a common name.
    """
    common = next(filter(None, (rdn.value_of("cn") for rdn in group.name)), None)
    if common is not None:
        yield from _if_valid(group, common, root="")


def path_from(group: Group, top: int) -> Iterator[str]:
    """
    Yield the path from an ancestor of a group down to the group, such as C{/TeamA/Admin}.

    @param top: the index of the ancestor's RDN in the RDNs of the group's DN.
    """
    if top < 0 or not group.name[0].value_of("cn"):  # the DN of a group without a common name
        return
    steps = [rdn.value() for rdn in reversed(group.name[: top + 1])]
    if any("/" in step or not step.strip() for step in steps):
        _log_invalid_role(group)
    else:
        yield from _if_valid(group, "/".join(["", *steps]), root="/")


def _if_valid(group: Group, role: str, root: str) -> Iterator[str]:
    """
    Yield a role if the role is printable, and begins with a slash only if the role is a path.

    @param root: the prefix is C{/} if the role is a path, or an empty string if the role is a
        common name.
    """
    if role.strip() and role.isprintable() and role.startswith("/") == bool(root):
        yield role
    else:
        _log_invalid_role(group)


def _log_invalid_role(group: Group) -> None:
    _log.warn(
        "LDAP group {dn} ignored: its name cannot be a role (slash, control character or empty)",
        dn=group.dn,
        event="ldap.group.unsound",
    )


class GroupRule(Protocol):
    """Selects groups by their DN, and determines the name of the role for each group."""

    def roles(self, group: Group) -> Iterator[str]:
        """Yield the roles of a group, or no roles if the rule does not select the group."""


@define(eq=False)
class AllGroups:
    """Selects every group of a directory; the role is the common name of the group."""

    def roles(self, group: Group) -> Iterator[str]:
        return common_name(group)


@define(eq=False)
class DnContains:
    """
    Selects groups whose DN, as the directory writes it, contains a text.

    The role that results is the common name of the group. The text is compared with the DN
    case-sensitively, except for attribute types. A text that begins with an attribute type matches
    at the beginning of an RDN, and not inside a value.
    """

    _text: str

    def roles(self, group: Group) -> Iterator[str]:
        text, dn = _uppercase_types(self._text), _uppercase_types(group.dn)
        begin = _ATTRIBUTE_TYPE.match(text)
        if begin is None:
            matches = text in dn
        # A text that begins with a comma or plus sign has a separator in front of it, so it cannot
        # match at the first RDN of a DN.
        else:
            rest, first = text.removeprefix(begin[1]), int(bool(begin[1]))
            matches = any(dn.startswith(rest, rdn.start) for rdn in group.name[first:])
        return common_name(group) if matches else iter(())


def _uppercase_types(dn: str) -> str:
    """Return a DN with its attribute types in upper case, and its values unchanged."""
    return _ATTRIBUTE_TYPE.sub(lambda match: match[0].upper(), dn)


@define(eq=False)
class DnBelow:
    """
    Selects groups at or below a partial DN; the RDNs of the partial DN may be written from leaf to
    root or from root to leaf.

    The role that results is the path from the top of the partial DN down to the group.
    """

    _partial_dns: Sequence[Name]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> DnBelow:
        """
        Parse the partial DNs.

        @raise InvalidDn: one of the texts is not a partial DN.
        """
        return cls([parse_partial_dn(text) for text in texts])

    def roles(self, group: Group) -> Iterator[str]:
        """Yield one role of a group for each partial DN that occurs in the group's DN."""
        group_dn = fold_dn(group.name)
        for partial_dn in self._partial_dns:
            folded = fold_dn(partial_dn)
            top = _match_end(group_dn, folded)
            if top is None:
                top = _match_end(group_dn, folded[::-1])
            if top is not None:
                yield from path_from(group, top)


def _match_end(rdns: Sequence[object], partial: Sequence[object]) -> int | None:
    """Return the index of the last RDN of the first place where C{partial} occurs in C{rdns}."""
    size = len(partial)
    for start in range(len(rdns) - size + 1):
        if tuple(rdns[start : start + size]) == tuple(partial):
            return start + size - 1
    return None


@frozen
class Grant:
    """
    A role, and the directory group from which it comes.

    @ivar group: the DN of the group, spelled as the directory spells it.
    """

    role: str
    group: str


@frozen
class GroupSearch:
    """
    Selects the groups that an LDAP search finds.

    @ivar as_path: whether the role is the path of the group below the search base; otherwise the
        role is the common name.
    """

    template: FilterTemplate
    as_path: bool

    def roles(self, group: Group, base: Name) -> Iterator[str]:
        """Yield the role of a group that the search below C{base} has found."""
        if self.as_path:
            steps = max(0, len(group.name) - len(base))
            is_below = fold_dn(group.name[steps:]) == fold_dn(base)
            return path_from(group, steps - 1) if is_below else iter(())
        return common_name(group)


@frozen
class GroupRules:
    """
    All rules about directory groups in one configuration section.

    @ivar by_dn: rules that select groups by DN from the groups that the user's entry lists.
    @ivar searches: these rules are LDAP searches for groups.
    @ivar error: why the configuration cannot be applied; every lookup then fails.
    """

    by_dn: tuple[GroupRule, ...] = ()
    searches: tuple[GroupSearch, ...] = ()
    error: str | None = None

    def of_memberships(self, dns: Sequence[str]) -> list[Grant]:
        """Return the roles of the groups that the user's entry lists."""
        return [
            Grant(role, group.dn)
            for group in parse_groups(dns)
            for rule in self.by_dn
            for role in rule.roles(group)
        ]

    @staticmethod
    def of_search(search: GroupSearch, dns: Sequence[str], base: str) -> list[Grant]:
        """Return the roles of the groups that a search below C{base} has found."""
        top, groups = parse_dn(base), parse_groups(dns)
        return [Grant(role, group.dn) for group in groups for role in search.roles(group, top)]


def is_partial_dn(text: str, *, strict: bool = True) -> bool:
    """
    Return whether a text is a DN, or a part of one.

    @param strict: whether a text is invalid as soon as one of its pieces is not an attribute with a
        value; otherwise such pieces are left out.
    """
    try:
        return bool(parse_dn(text) if strict else parse_partial_dn(text))
    except InvalidDn:
        return False


def parse_partial_dn(text: str) -> Name:
    """
    Parse a part of a DN as auth-o-tron does: a piece that is not an attribute and a value is left
    out, such as the end of C{OU=TeamA,}.

    @raise InvalidDn: no piece of the text is an attribute with a value, or the DN that such pieces
        form is invalid.
    """
    return parse_dn(complete_rdns(text))


def complete_rdns(text: str) -> str:
    """
    Return the RDNs of a part of a DN that have an attribute and a value.

    @raise InvalidDn: no RDN has both an attribute and a value.
    """
    if _is_complete(text):
        return text
    steps = [step for step in text.split(",") if all(map(str.strip, _both_sides(step)))]
    if not steps:
        raise InvalidDn("the DN is empty")
    return ",".join(steps)


def _is_complete(text: str) -> bool:
    try:
        rdns = parse_dn(text)
    except InvalidDn:
        return False
    return bool(rdns) and all(value.strip() for rdn in rdns for _, value in rdn.pairs)


def _both_sides(step: str) -> tuple[str, str]:
    attribute, _, value = step.partition("=")
    return attribute, value


def group_rules(filter_: str | None, filters: Sequence[str] | None) -> GroupRules:
    """
    Make the rules that the configuration keys C{filter} and C{filters} describe.

    If C{filters} is set, C{filter} is ignored, as in auth-o-tron.
    """
    if filters is not None:
        filter_ = None
    searches = [
        GroupSearch(parse_filter(text), as_path)
        for text, as_path in [(filter_, False), *((text, True) for text in filters or ())]
        if text is not None and is_template(text)
    ]
    partial_dns = [text for text in filters or () if not is_template(text)]
    invalid = [text for text in partial_dns if not is_partial_dn(text, strict=False)]
    if invalid:
        return GroupRules(error=f"filters: {invalid[0]!r} is not a part of a DN")
    by_dn: list[GroupRule] = []
    if filter_ is not None and not is_template(filter_):
        by_dn.append(DnContains(filter_))
    if partial_dns:
        by_dn.append(DnBelow.parse(partial_dns))
    if filter_ is None and filters is None:
        by_dn.append(AllGroups())
    return GroupRules(tuple(by_dn), tuple(searches))
