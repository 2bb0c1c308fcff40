"""
LDAP search filters (RFC 4515) with the placeholders C{{username}} and C{{dn}}.

A filter is parsed before its placeholders are filled, so that a user name is always a value and
never part of the filter's syntax. L{authotron.ldap.filter_parser} parses filters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import field, frozen

from authotron.ldap import encoding
from authotron.ldap.decoding import Entry
from authotron.ldap.dn import escape_value
from authotron.ldap.encoding import Filter
from authotron.ldap.spelling import is_same_dn
from authotron.model.naming import normalize

PLACEHOLDER = re.compile(r"\{(username|dn)\}")
_SPECIAL = re.compile(rb"[\x00()*\\]|[\x80-\xff]+")


@frozen
class TemplateUser:
    """
    The values for the placeholders of a filter.

    @ivar dn: the DN of the user's entry; empty if it is not known.
    """

    username: str
    dn: str = ""


@frozen
class ValueTemplate:
    """
    A value of a comparison, or one of its substrings, with placeholders.

    @ivar parts: constant parts as bytes, and placeholders as the strings C{username} and C{dn}.
    @ivar in_dn: whether the value is a DN, so that the user name is escaped as in a DN.
    """

    parts: tuple[bytes | str, ...] = ()
    in_dn: bool = field(default=False, eq=False)

    def __str__(self) -> str:
        return "".join(
            f"{{{part}}}" if isinstance(part, str) else _escaped(part) for part in self.parts
        )

    def has_placeholder(self, name: str) -> bool:
        """Return whether the placeholder C{username} or C{dn} is part of the value."""
        return name in self.parts

    def fill(self, user: TemplateUser) -> bytes:
        """Return the value with its placeholders replaced."""
        return b"".join(
            part if isinstance(part, bytes) else self._value_of(user, part) for part in self.parts
        )

    def _value_of(self, user: TemplateUser, placeholder: str) -> bytes:
        if placeholder == "dn":
            return user.dn.encode()
        username = escape_value(user.username) if self.in_dn else user.username
        return username.encode("utf-8", "surrogatepass")


class Node:
    """A parsed filter, or a part of one."""

    def fill(self, user: TemplateUser) -> Filter:
        """Encode the filter with its placeholders replaced."""
        raise NotImplementedError

    def comparisons(self) -> Iterator[Comparison]:
        """Yield the comparisons that a matching entry may satisfy; negated ones are left out."""
        raise NotImplementedError


@frozen
class Combination(Node):
    """
    A conjunction or disjunction of filters; an empty one is always true or false (RFC 4526).

    @ivar sign: C{&} if all filters must match, C{|} if at least one must match.
    """

    sign: str
    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return f"({self.sign}{''.join(map(str, self.nodes))})"

    def fill(self, user: TemplateUser) -> Filter:
        join = encoding.all_of if self.sign == "&" else encoding.any_of
        return join([node.fill(user) for node in self.nodes])

    def comparisons(self) -> Iterator[Comparison]:
        for node in self.nodes:
            yield from node.comparisons()


@frozen
class Negation(Node):
    """A filter that an entry must not satisfy."""

    node: Node

    def __str__(self) -> str:
        return f"(!{self.node})"

    def fill(self, user: TemplateUser) -> Filter:
        return encoding.none_of(self.node.fill(user))

    def comparisons(self) -> Iterator[Comparison]:
        return iter(())


@frozen
class Comparison(Node):
    """
    The comparison of an attribute with a value.

    @ivar attribute: attribute with options, such as C{cn;lang-de}; empty for a matching rule that
        compares any attribute.
    @ivar operator: C{=}, C{~=}, C{>=}, C{<=}, or C{:=} for an extensible match.
    @ivar substrings: the value, split at its asterisks.
    @ivar rule: the matching rule of an extensible match, if one is given.
    @ivar of_dn: whether the extensible match also compares the DN of the entry.
    """

    attribute: str
    operator: str
    substrings: tuple[ValueTemplate, ...]
    rule: str = ""
    of_dn: bool = False

    def __str__(self) -> str:
        rules = f"{':dn' if self.of_dn else ''}{self.rule and f':{self.rule}'}"
        return f"({self.attribute}{rules}{self.operator}{'*'.join(map(str, self.substrings))})"

    def fill(self, user: TemplateUser) -> Filter:
        values = [each.fill(user) for each in self.substrings]
        if self.operator == ":=":
            return encoding.rule(self.attribute, self.rule, values[0], of_dn=self.of_dn)
        if len(values) == 1:
            return encoding.compares(self.attribute, self.operator, values[0])
        if not any(each.parts for each in self.substrings):
            return encoding.present(self.attribute)
        return encoding.contains(self.attribute, values)

    def comparisons(self) -> Iterator[Comparison]:
        yield self

    def uses_username(self) -> bool:
        """Return whether a value that satisfies the comparison contains the user name."""
        is_equality = bool(self.attribute) and self.operator in ("=", "~=", ":=")
        return is_equality and any(each.has_placeholder("username") for each in self.substrings)

    def dn_of(self, user: TemplateUser) -> str | None:
        """Return the value if it is a complete DN that contains the user name."""
        if not self.uses_username() or len(self.substrings) > 1 or not self.substrings[0].in_dn:
            return None
        return self.substrings[0].fill(user).decode("utf-8", "surrogatepass")

    def is_exact(self, values: tuple[str, ...], user: TemplateUser) -> bool:
        """Return whether one of the attribute values matches letter by letter."""
        dn = self.dn_of(user)
        if dn is not None:
            return any(is_same_dn(value, dn, user.username) for value in values)
        raw = [each.fill(user).decode("utf-8", "replace") for each in self.substrings]
        pattern = re.compile(".*".join(re.escape(normalize(each)) for each in raw), re.DOTALL)
        return any(pattern.fullmatch(normalize(value)) for value in values)


@frozen
class FilterTemplate:
    """A complete filter with placeholders for a user."""

    text: str
    node: Node

    def fill(self, user: TemplateUser) -> Filter:
        """Encode the filter with its placeholders replaced."""
        return self.node.fill(user)

    def needs_dn(self) -> bool:
        """Return whether the filter contains the placeholder for the DN of the user's entry."""
        return "{dn}" in self.text

    def uses_username(self) -> bool:
        """Return whether the filter contains the placeholder for the user name."""
        return "{username}" in self.text

    def username_attributes(self) -> tuple[str, ...]:
        """Return the attributes that contain the user name in the entries that the filter finds."""
        found = (each.attribute for each in self.node.comparisons() if each.uses_username())
        return tuple(dict.fromkeys(found))

    def dn_of(self, user: TemplateUser) -> str | None:
        """Return the DN with the user name if the filter identifies the user by one DN alone."""
        found = [each.dn_of(user) for each in self.node.comparisons() if each.uses_username()]
        return found[0] if len(found) == 1 else None

    def is_exact(self, entry: Entry, user: TemplateUser) -> bool:
        """
        Return whether an entry holds the user name letter by letter.

        Directories ignore case, extra blanks, width and soft hyphens (RFC 4518). The values of all
        attributes are compared, since a directory may return an attribute under another name than
        requested: the name of a subtype, a name with options, or an OID.
        """
        values = tuple(value for name in entry.attributes for value in entry.strings(name))
        comparisons = (each for each in self.node.comparisons() if each.uses_username())
        return any(each.is_exact(values, user) for each in comparisons)


def _escaped(value: bytes) -> str:
    """Write a constant value as in a filter; bytes that are not UTF-8 are escaped."""
    return PLACEHOLDER.sub(_escape_brace, _SPECIAL.sub(_escape, value).decode())


def _escape(match: re.Match[bytes]) -> bytes:
    try:
        if match[0][0] >= 0x80:  # noqa: PLR2004 - beyond ASCII
            match[0].decode()
            return match[0]
    except UnicodeDecodeError:
        pass
    return b"".join(b"\\%02x" % byte for byte in match[0])


def _escape_brace(match: re.Match[str]) -> str:
    r"""Escape the brace of a constant that looks like a placeholder, as in C{\7busername}}."""
    return f"\\7b{match[0][1:]}"
