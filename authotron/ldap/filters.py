"""
LDAP search filters (RFC 4515) with the placeholders C{{username}}, C{{dn}} and C{{attribute}}.

C{{dn}} is the DN of the user's entry, and C{{attribute}} stands for any attribute of the entry,
such as C{{gidNumber}}. A comparison with an attribute that the entry does not have is undefined:
it does not match, and neither does its negation (RFC 4511 section 4.5.1.7).

A filter is parsed before its placeholders are filled, so that a user name is always a value and
never part of the filter's syntax. L{authotron.ldap.filter_parser} parses filters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import prod

from attrs import field, frozen

from authotron.ldap import encoding
from authotron.ldap.decoding import Entry
from authotron.ldap.dn import escape_value
from authotron.ldap.encoding import Filter
from authotron.ldap.spelling import is_same_dn
from authotron.ldap.values import attributes_behind, raw_values
from authotron.model.errors import Unavailable
from authotron.model.naming import normalize

PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9-]*)\}")
_MAX_VARIANTS = 1_000
"""
Maximum number of combinations of attribute values in one comparison of a filter.
"""

_SPECIAL = re.compile(rb"[\x00()*\\{]|[\x80-\xff]+")


@frozen
class TemplateUser:
    """
    The values that replace the placeholders of an LDAP filter.

    @ivar entry: the user's entry, or C{None} if the entry is not known.
    @ivar group: the DN of a group of the user, to search for groups that contain this group; empty
        to search for groups of the user.
    """

    username: str
    entry: Entry | None = None
    group: str = ""

    def values_of(self, placeholder: str) -> list[bytes]:
        """
        Return the values of a placeholder, or no values if the user's entry does not have the
        attribute.
        """
        if placeholder == "username":
            return [self.username.encode("utf-8", "surrogatepass")]
        if placeholder == "dn":
            dn = self.group or (self.entry.dn if self.entry else "")
            return [dn.encode()]
        return raw_values(self.entry, placeholder) if self.entry else []


@frozen
class ValueTemplate:
    """
    A value in a comparison of an LDAP filter, or one of its substrings, with placeholders.

    @ivar parts: constant parts as bytes, and the names of placeholders as strings.
    @ivar in_dn: whether the value is a DN, so that the user name is escaped as in a DN.
    """

    parts: tuple[bytes | str, ...] = ()
    in_dn: bool = field(default=False, eq=False)

    def __str__(self) -> str:
        return "".join(
            f"{{{part}}}" if isinstance(part, str) else _escaped(part) for part in self.parts
        )

    def has_placeholder(self, name: str) -> bool:
        """Return whether a placeholder is part of the value."""
        return name in self.parts

    def holds_dn(self) -> bool:
        """Return whether the value is the DN of the user, or a DN with the user name."""
        return "dn" in self.parts or (self.in_dn and "username" in self.parts)

    def variants(self, user: TemplateUser) -> list[bytes]:
        """
        Return the value with its placeholders replaced, once for each value of the attributes.

        In a search for the groups that contain a group (L{TemplateUser.group}), a value that is a
        DN with the user name becomes the DN of this group, and for any other value with the user
        name the empty list is returned.

        @raise Unavailable: the attributes have too many values.
        """
        if user.group and self.has_placeholder("username"):
            return [user.group.encode()] if self.in_dn else []
        return [b"".join(each) for each in _combine(self._values_of(user, p) for p in self.parts)]

    def _values_of(self, user: TemplateUser, part: bytes | str) -> list[bytes]:
        if isinstance(part, bytes):
            return [part]
        raw = user.values_of(part)
        if part == "dn" or not self.in_dn:
            return raw
        texts = (each.decode("utf-8", "surrogatepass") for each in raw)
        return [escape_value(text).encode("utf-8", "surrogatepass") for text in texts]


def _combine(parts: Iterable[Sequence[bytes]]) -> list[tuple[bytes, ...]]:
    """
    Return all combinations that consist of one value of each part.

    @raise Unavailable: the placeholders of the filter have too many combinations of attribute
        values.
    """
    known = [*parts]
    if prod(map(len, known)) > _MAX_VARIANTS:
        raise Unavailable(f"a filter has more than {_MAX_VARIANTS} values of attributes")
    return [*product(*known)]


class Node:
    """A parsed LDAP filter, or a part of one."""

    def fill(self, user: TemplateUser) -> Filter | None:
        """Encode the filter with its placeholders filled; return C{None} if a value is missing."""
        raise NotImplementedError

    def comparisons(self) -> Iterator[Comparison]:
        """
        Yield the comparisons that a matching entry may satisfy; negated comparisons
        are left out.
        """
        raise NotImplementedError


@frozen
class Combination(Node):
    """
    A conjunction or disjunction of LDAP filters.

    An empty conjunction is always true, and an empty disjunction is always false (RFC 4526).

    @ivar sign: the operator, C{&} if all filters must match, C{|} if at least one must match.
    """

    sign: str
    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return f"({self.sign}{''.join(map(str, self.nodes))})"

    def fill(self, user: TemplateUser) -> Filter | None:
        filled = [node.fill(user) for node in self.nodes]
        defined = [each for each in filled if each is not None]
        if self.sign == "&":
            return encoding.all_of(defined) if len(defined) == len(filled) else None
        return encoding.any_of(defined) if defined or not filled else None

    def comparisons(self) -> Iterator[Comparison]:
        for node in self.nodes:
            yield from node.comparisons()


@frozen
class Negation(Node):
    """An LDAP filter that an entry must not match."""

    node: Node

    def __str__(self) -> str:
        return f"(!{self.node})"

    def fill(self, user: TemplateUser) -> Filter | None:
        filled = self.node.fill(user)
        return None if filled is None else encoding.none_of(filled)

    def comparisons(self) -> Iterator[Comparison]:
        return iter(())


@frozen
class Comparison(Node):
    """
    An LDAP filter that compares an attribute with a value.

    @ivar attribute: attribute with options, such as C{cn;lang-de}; empty for a matching rule that
        compares any attribute.
    @ivar operator: the operator, C{=}, C{~=}, C{>=}, C{<=}, or C{:=} for an extensible match.
    @ivar substrings: the parts of the value between its asterisks.
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

    def fill(self, user: TemplateUser) -> Filter | None:
        filled = [self._encode(values) for values in self._variants(user)]
        if not filled:
            return None
        return filled[0] if len(filled) == 1 else encoding.any_of(filled)

    def _variants(self, user: TemplateUser) -> list[tuple[bytes, ...]]:
        """Return the substrings with their placeholders replaced, in all combinations."""
        return _combine(each.variants(user) for each in self.substrings)

    def _encode(self, values: Sequence[bytes]) -> Filter:
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
        """Return whether every value that satisfies this comparison contains the user name."""
        is_equality = bool(self.attribute) and self.operator in ("=", "~=", ":=")
        return is_equality and any(each.has_placeholder("username") for each in self.substrings)

    def dn_of(self, user: TemplateUser) -> str | None:
        """Return the value if it is a complete DN that contains the user name."""
        if not self.uses_username() or len(self.substrings) > 1 or not self.substrings[0].in_dn:
            return None
        variants = self.substrings[0].variants(user)
        return variants[0].decode("utf-8", "surrogatepass") if len(variants) == 1 else None

    def is_exact(self, values: tuple[str, ...], user: TemplateUser) -> bool:
        """
        Return whether one of the attribute values equals the user name, including the case of
        letters.
        """
        dn = self.dn_of(user)
        if dn is not None:
            return any(is_same_dn(value, dn, user.username) for value in values)
        patterns = [
            re.compile(
                ".*".join(re.escape(normalize(raw.decode("utf-8", "replace"))) for raw in variant),
                re.DOTALL,
            )
            for variant in self._variants(user)
        ]
        names = [normalize(value) for value in values]
        return any(pattern.fullmatch(name) for pattern in patterns for name in names)


@frozen
class FilterTemplate:
    """A complete LDAP filter with placeholders for a user."""

    text: str
    node: Node

    def fill(self, user: TemplateUser) -> Filter | None:
        """
        Encode the filter with its placeholders replaced.

        @return: the encoded filter, or C{None} if no entry can match because the user's entry lacks
            an attribute that the filter needs.
        """
        return self.node.fill(user)

    def text_for(self, username: str) -> str:
        """Return the filter as text (RFC 4515) with the user name in it, for messages."""
        escaped = re.sub(r"[\\*()\x00]", lambda found: f"\\{ord(found[0]):02x}", username)
        return self.text.replace("{username}", escaped)

    def placeholders(self) -> tuple[str, ...]:
        """Return the names of all placeholders in the filter."""
        return tuple(dict.fromkeys(PLACEHOLDER.findall(self.text)))

    def needs_entry(self) -> bool:
        """Return whether the filter contains the DN or an attribute of the user's entry."""
        return any(name != "username" for name in self.placeholders())

    def entry_attributes(self) -> tuple[str, ...]:
        """
        Return the names of those attributes of the user's entry that the filter contains as
        placeholders.
        """
        return tuple(name for each in self.placeholders() for name in attributes_behind(each))

    def finds_nested(self) -> bool:
        """
        Return whether the filter can also find the groups that contain another group, because it
        compares an attribute with a DN.
        """
        comparisons = self.node.comparisons()
        return any(part.holds_dn() for each in comparisons for part in each.substrings)

    def uses_username(self) -> bool:
        """Return whether the filter contains the placeholder for the user name."""
        return "{username}" in self.text

    def username_attributes(self) -> tuple[str, ...]:
        """
        Return the attributes that the filter compares with the user name; they are requested so
        that each entry shows how the directory spells the user name.
        """
        found = (each.attribute for each in self.node.comparisons() if each.uses_username())
        return tuple(dict.fromkeys(found))

    def dn_of(self, user: TemplateUser) -> str | None:
        """Return the DN with the user name if the filter identifies the user by one DN alone."""
        found = [each.dn_of(user) for each in self.node.comparisons() if each.uses_username()]
        return found[0] if len(found) == 1 else None

    def is_exact(self, entry: Entry, user: TemplateUser) -> bool:
        """
        Return whether a value in an entry equals the user name, including the case of letters.

        When directories compare values, they ignore case, extra blanks, soft hyphens, and the
        difference between full-width and half-width characters (RFC 4518). The user name is
        compared with the values of all attributes, since a directory may return an attribute under
        another name than requested: the name of a subtype, a name with options, or an OID.
        """
        values = tuple(value for name in entry.attributes for value in entry.strings(name))
        comparisons = (each for each in self.node.comparisons() if each.uses_username())
        return any(each.is_exact(values, user) for each in comparisons)


def _escaped(value: bytes) -> str:
    """
    Write a constant value in the syntax of an LDAP filter; bytes that are not UTF-8
    are escaped.
    """
    return _SPECIAL.sub(_escape, value).decode()


def _escape(match: re.Match[bytes]) -> bytes:
    try:
        if match[0][0] >= 0x80:  # noqa: PLR2004 - beyond ASCII
            match[0].decode()
            return match[0]
    except UnicodeDecodeError:
        pass
    return b"".join(b"\\%02x" % byte for byte in match[0])
