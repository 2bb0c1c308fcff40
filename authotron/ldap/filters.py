"""
Search filters (RFC 4515) with places for a user.

A template is parsed first and filled afterwards, so that whatever is filled in stays a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, NoReturn

from attrs import field, frozen

from authotron.ldap import encoding
from authotron.ldap.decoding import Entry
from authotron.ldap.dn import InvalidDn, Name, escape_value, fold_dn, parse_dn
from authotron.ldap.encoding import Filter
from authotron.model.naming import normalized

_PLACES = re.compile(r"\{(username|dn)\}")
_OID = r"(?:[A-Za-z][A-Za-z0-9-]*|(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+)"
_ATTRIBUTE = re.compile(rf"{_OID}(?:;[A-Za-z0-9-]+)*")
_RULES = re.compile(rf"(?P<dn>:[Dd][Nn](?=:))?(?::(?P<rule>{_OID}))?:=")
_OPERATOR = re.compile(r"=|~=|>=|<=")
_VALUE = re.compile(r"(?:[^()\\\0]|\\[0-9A-Fa-f]{2})*")
_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2})")
_SPECIAL = re.compile(rb"[\x00()*\\]|[\x80-\xff]+")
_IN_A_NAME = re.compile(r"(?:^|[*,;+])\s*[A-Za-z0-9][A-Za-z0-9.-]*\s*=")
_DEEP = 20
_USER_ID = "uid"


class InvalidFilter(ValueError):
    """The text is not a filter."""


@frozen
class TemplateUser:
    """The user that is filled in."""

    username: str
    dn: str = ""


@frozen
class ValueTemplate:
    """
    Constant bytes and places in turn.

    @ivar in_a_name: whether the user name is escaped as inside a DN.
    """

    parts: tuple[bytes | str, ...] = ()
    in_dn: bool = field(default=False, eq=False)

    def __str__(self) -> str:
        return "".join(
            f"{{{part}}}" if isinstance(part, str) else _escaped(part) for part in self.parts
        )

    def holds(self, place: str) -> bool:
        """Whether a place, C{username} or C{dn}, is part of it."""
        return place in self.parts

    def filled(self, user: TemplateUser) -> bytes:
        return b"".join(
            part if isinstance(part, bytes) else self._of(user, part) for part in self.parts
        )

    def _of(self, user: TemplateUser, place: str) -> bytes:
        if place == "dn":
            return user.dn.encode()
        username = escape_value(user.username) if self.in_dn else user.username
        return username.encode("utf-8", "surrogatepass")


class Node:
    """A filter."""

    def fill(self, user: TemplateUser) -> Filter:
        """Encode the filter with a user in its places."""
        raise NotImplementedError

    def comparisons(self) -> Iterator[Comparison]:
        """Yield the comparisons that an entry may have to satisfy; those negated are not."""
        raise NotImplementedError


@frozen
class Combination(Node):
    """
    An C{&} or C{|} of filters; an empty set is always true or always false (RFC 4526).

    @ivar sign: C{&} or C{|}.
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
    """A filter that must not be satisfied."""

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
    An attribute beside a value.

    @ivar attribute: its description with options; empty where a matching rule fits any attribute.
    @ivar operator: C{=}, C{~=}, C{>=}, C{<=}, or C{:=} for an extensible match.
    @ivar pieces: the value, divided at its asterisks.
    @ivar rule: the matching rule of an extensible match, if one is named.
    @ivar of_dn: whether the extensible match also looks at the DN of the entry.
    """

    attribute: str
    operator: str
    pieces: tuple[ValueTemplate, ...]
    rule: str = ""
    of_dn: bool = False

    def __str__(self) -> str:
        rules = f"{':dn' if self.of_dn else ''}{self.rule and f':{self.rule}'}"
        return f"({self.attribute}{rules}{self.operator}{'*'.join(map(str, self.pieces))})"

    def fill(self, user: TemplateUser) -> Filter:
        values = [piece.filled(user) for piece in self.pieces]
        if self.operator == ":=":
            return encoding.rule(self.attribute, self.rule, values[0], of_dn=self.of_dn)
        if len(values) == 1:
            return encoding.compares(self.attribute, self.operator, values[0])
        if not any(piece.parts for piece in self.pieces):
            return encoding.present(self.attribute)
        return encoding.contains(self.attribute, values)

    def comparisons(self) -> Iterator[Comparison]:
        yield self

    def uses_username(self) -> bool:
        """Whether a value that satisfies it holds the user name."""
        can_tell = bool(self.attribute) and self.operator in ("=", "~=", ":=")
        return can_tell and any(piece.holds("username") for piece in self.pieces)

    def is_dn_of(self, user: TemplateUser) -> str | None:
        """The DN that it is about, if its value is a whole DN with the user name in it."""
        if not self.uses_username() or len(self.pieces) > 1 or not self.pieces[0].in_dn:
            return None
        return self.pieces[0].filled(user).decode("utf-8", "surrogatepass")

    def is_exact(self, values: tuple[str, ...], user: TemplateUser) -> bool:
        """Whether one of the values is, letter by letter, what the user name makes of it."""
        dn = self.is_dn_of(user)
        if dn is not None:
            return any(is_same_dn(value, dn, user.username) for value in values)
        raw = [piece.filled(user).decode("utf-8", "replace") for piece in self.pieces]
        wanted = re.compile(".*".join(re.escape(normalized(each)) for each in raw), re.DOTALL)
        return any(wanted.fullmatch(normalized(value)) for value in values)


@frozen
class FilterTemplate:
    """A filter that becomes one about a user."""

    text: str
    node: Node

    def fill(self, user: TemplateUser) -> Filter:
        """Encode the filter about a user."""
        return self.node.fill(user)

    def needs_dn(self) -> bool:
        """Whether the user's own entry must be known."""
        return "{dn}" in self.text

    def uses_username(self) -> bool:
        """Whether the user name is filled in anywhere."""
        return "{username}" in self.text

    def username_attributes(self) -> tuple[str, ...]:
        """The attributes whose values hold the user name in whatever the search finds."""
        found = (each.attribute for each in self.node.comparisons() if each.uses_username())
        return tuple(dict.fromkeys(found))

    def dn_of(self, user: TemplateUser) -> str | None:
        """The DN that the search is about, if all it knows of the user is one DN."""
        found = [each.is_dn_of(user) for each in self.node.comparisons() if each.uses_username()]
        return found[0] if len(found) == 1 else None

    def is_exact(self, entry: Entry, user: TemplateUser) -> bool:
        """
        Whether an entry holds the user name letter by letter.

        Directories overlook case, blanks, width and soft hyphens (RFC 4518), and so find the entry
        of C{alice} for a user C{ALICE}, who may be another user elsewhere. All attributes of the
        entry count, as subtypes, options and numbers of attributes come under another name than
        they were asked for.
        """
        values = tuple(value for name in entry.attributes for value in entry.strings(name))
        naming = (each for each in self.node.comparisons() if each.uses_username())
        return any(each.is_exact(values, user) for each in naming)


def names_user_in_rdn(dn: str, username: str, naming: Iterable[str]) -> bool:
    """
    Whether the first step of a DN holds a name letter by letter.

    Only the attributes of C{naming} count, and C{uid}: C{cn} may be how a user is shown to others,
    who may be called like another user.
    """
    try:
        steps = parse_dn(dn)
    except InvalidDn:
        return False
    types = {_USER_ID, *(each.lower() for each in naming)}
    return bool(steps) and any(
        kind.lower() in types and normalized(value) == normalized(username)
        for kind, value in steps[0].pairs
    )


def spells_user_alike(dn: str, other: str, username: str) -> bool:
    """
    Whether two DNs of one entry have the user name written alike in the same steps.

    Types of attributes do not count, as a directory knows each by several names: C{uid},
    C{userid} and C{0.9.2342.19200300.100.1.1} are one.
    """
    try:
        steps, others = parse_dn(dn), parse_dn(other)
    except InvalidDn:
        return False
    return len(steps) == len(others) and _hold_alike(steps, others, username)


def is_same_dn(dn: str, other: str, username: str) -> bool:
    """Whether two DNs are the same, and the user name is written alike in both."""
    try:
        steps, others = parse_dn(dn), parse_dn(other)
    except InvalidDn:
        return False
    return fold_dn(steps) == fold_dn(others) and _hold_alike(steps, others, username)


def _hold_alike(steps: Name, others: Name, username: str) -> bool:
    name = normalized(username)
    return all(
        {normalized(value) for _, value in other.pairs} & {name}
        <= {normalized(value) for _, value in step.pairs}
        for step, other in zip(steps, others, strict=True)
    )


def is_template(text: str) -> bool:
    """Whether a text stands in parentheses and has a place for a user."""
    stripped = text.strip()
    return stripped.startswith("(") and stripped.endswith(")") and bool(_PLACES.search(stripped))


def parse(text: str) -> FilterTemplate:
    """
    The template that a text describes, by the grammar of RFC 4515 and RFC 4526.

    @raise BadFilter: the text is not a filter; the message says at which character.
    """
    stripped = text.strip()
    found = _filter(stripped, 0, 0)
    if found.end != len(stripped):
        _refuse(stripped, found.end, "something stands behind the filter")
    return FilterTemplate(stripped, found.node)


def of_user(attribute: str) -> FilterTemplate:
    """Persons with a certain name."""
    return parse(f"(&(objectClass=person)({attribute}={{username}}))")


# --- the grammar ---


class _Found(NamedTuple):
    """A filter, and where it ends."""

    node: Node
    end: int


def _refuse(text: str, at: int, why: str) -> NoReturn:
    behind = "its end" if at >= len(text) else f"character {at + 1}"
    raise InvalidFilter(f"is not a filter (RFC 4515): {why} at {behind}")


def _filter(text: str, at: int, depth: int) -> _Found:
    """Parse the filter that begins at C{at}."""
    if depth > _DEEP:
        _refuse(text, at, "it is too deep")
    if text[at : at + 1] != "(":
        _refuse(text, at, "an opening parenthesis is missing")
    sign = text[at + 1 : at + 2]
    if sign in ("&", "|"):
        node, end = _several(text, at + 2, depth, sign)
    elif sign == "!":
        negated, end = _filter(text, at + 2, depth + 1)
        node = Negation(negated)
    else:
        node, end = _comparison(text, at + 1)
    if text[end : end + 1] != ")":
        _refuse(text, end, "a closing parenthesis is missing")
    return _Found(node, end + 1)


def _several(text: str, at: int, depth: int, sign: str) -> _Found:
    nodes: list[Node] = []
    while text[at : at + 1] == "(":
        node, at = _filter(text, at, depth + 1)
        nodes.append(node)
    return _Found(Combination(sign, tuple(nodes)), at)


def _comparison(text: str, at: int) -> _Found:
    found = _ATTRIBUTE.match(text, at)
    attribute, at = (found[0], found.end()) if found else ("", at)
    rules = _RULES.match(text, at)
    if rules is not None:
        if not (attribute or rules["rule"]):
            _refuse(text, at, "an attribute or a matching rule is missing")
        [piece], end = _pieces(text, rules.end(), at_asterisks=False)
        extensible = Comparison(attribute, ":=", (piece,), rules["rule"] or "", bool(rules["dn"]))
        return _Found(extensible, end)
    operator = _OPERATOR.match(text, at)
    if operator is None or not attribute:
        _refuse(text, at, "an attribute and a comparison are missing")
    pieces, end = _pieces(text, operator.end(), at_asterisks=operator[0] == "=")
    return _Found(Comparison(attribute, operator[0], pieces), end)


def _pieces(text: str, at: int, *, at_asterisks: bool) -> tuple[tuple[ValueTemplate, ...], int]:
    """Parse a value; only one behind C{=} may be divided by asterisks."""
    found = _VALUE.match(text, at)
    assert found is not None  # it matches nothing, too
    value, end = found[0], found.end()
    if text[end : end + 1] == "\\":
        _refuse(text, end, "a backslash is not followed by two hexadecimal digits")
    if text[end : end + 1] == "\0":
        _refuse(text, end, "a NUL is not escaped")
    if "*" in value and not at_asterisks:
        _refuse(text, at + value.index("*"), "an asterisk is allowed only behind =, else \\2a,")
    in_dn = _IN_A_NAME.search(value) is not None
    if in_dn and "*" in value and _PLACES.search(value):
        why = "an asterisk does not go with a user inside the name of an entry,"
        _refuse(text, at + value.index("*"), why)
    try:
        return tuple(_piece(each, in_dn=in_dn) for each in value.split("*")), end
    except UnicodeEncodeError:
        _refuse(text, at, "a value cannot be encoded as UTF-8")


def _piece(text: str, *, in_dn: bool) -> ValueTemplate:
    split = _PLACES.split(text)
    parts = [_constant(each) if i % 2 == 0 else each for i, each in enumerate(split)]
    return ValueTemplate(tuple(each for each in parts if each), in_dn)


def _constant(text: str) -> bytes:
    r"""The bytes that a text means in which C{\2a} is one byte."""
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode())


def _escaped(value: bytes) -> str:
    """A value as it stands in a filter; bytes that are not UTF-8 are escaped, too."""
    return _PLACES.sub(_with_escaped_brace, _SPECIAL.sub(_escape, value).decode())


def _escape(found: re.Match[bytes]) -> bytes:
    try:
        if found[0][0] >= 0x80:  # noqa: PLR2004 - beyond ASCII
            found[0].decode()
            return found[0]
    except UnicodeDecodeError:
        pass
    return b"".join(b"\\%02x" % byte for byte in found[0])


def _with_escaped_brace(found: re.Match[str]) -> str:
    """A constant that looks like a place."""
    return f"\\7b{found[0][1:]}"
