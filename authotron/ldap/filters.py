"""
Search filters (RFC 4515) with places for a user.

A template is taken apart first and filled afterwards, so that whatever is filled in stays a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from attrs import frozen

from authotron.ldap import names, wire
from authotron.ldap.wire import Filter

_PLACES = re.compile(r"\{(username|dn)\}")
_ITEM = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9.;_-]*)?((?::[A-Za-z0-9._-]+)*)(=|~=|>=|<=|:=)([^()\0]*)"
)
_IN_A_NAME = re.compile(r"(?:^|[*,;+])\s*[A-Za-z0-9][A-Za-z0-9.-]*\s*=")
_DEEP = 20


class BadFilter(ValueError):
    """It is no filter."""


@frozen
class User:
    """Who is filled in."""

    username: str
    dn: str = ""


Fill = Callable[[User], Filter]


@frozen
class Template:
    """A filter that becomes one about a user."""

    text: str
    fill: Fill

    def needs_dn(self) -> bool:
        """Whether the user's own entry must be known."""
        return "{dn}" in self.text


def is_template(text: str) -> bool:
    """Whether a text stands in parentheses and has a place for a user."""
    stripped = text.strip()
    return stripped.startswith("(") and stripped.endswith(")") and bool(_PLACES.search(stripped))


def parse(text: str) -> Template:
    """
    The template that a text describes.

    @raise BadFilter: it is none.
    """
    fill, end = _filter(text.strip(), 0, 0)
    if end != len(text.strip()):
        raise BadFilter("something stands behind the filter")
    return Template(text.strip(), fill)


def of_user(attribute: str) -> Template:
    """Persons with a certain name."""
    return parse(f"(&(objectClass=person)({attribute}={{username}}))")


def _filter(text: str, at: int, deep: int) -> tuple[Fill, int]:
    """One filter that begins at C{at}, and where it ends."""
    if deep > _DEEP:
        raise BadFilter("it is too deep")
    if text[at : at + 1] != "(":
        raise BadFilter("an opening parenthesis is missing")
    sign = text[at + 1 : at + 2]
    if sign in ("&", "|"):
        fill, end = _several(text, at + 2, deep, wire.all_of if sign == "&" else wire.any_of)
    elif sign == "!":
        other, end = _filter(text, at + 2, deep + 1)
        fill = partial(_negated, other)
    else:
        fill, end = _item(text, at + 1)
    if text[end : end + 1] != ")":
        raise BadFilter("a closing parenthesis is missing")
    return fill, end + 1


def _several(
    text: str, at: int, deep: int, join: Callable[[list[Filter]], Filter]
) -> tuple[Fill, int]:
    fills: list[Fill] = []
    while text[at : at + 1] == "(":
        fill, at = _filter(text, at, deep + 1)
        fills.append(fill)
    return (lambda user: join([fill(user) for fill in fills])), at


def _negated(fill: Fill, user: User) -> Filter:
    return wire.none_of(fill(user))


def _item(text: str, at: int) -> tuple[Fill, int]:
    """A comparison."""
    found = _ITEM.match(text, at)
    if found is None or not (found[1] or found[2]):
        raise BadFilter("an attribute and a comparison are missing")
    attribute, rules, operator, value = found[1] or "", found[2], found[3], found[4]
    if (operator == ":=") != bool(rules) and operator != ":=":
        raise BadFilter("a matching rule needs :=")
    if _is_name(value) and "*" in value and _PLACES.search(value):
        raise BadFilter("an asterisk does not go with a user inside the name of an entry")
    pieces = [_Piece.read(piece, _is_name(value)) for piece in value.split("*")]
    return _comparison(attribute, rules.split(":")[1:], operator, pieces), found.end()


def _comparison(attribute: str, rules: list[str], operator: str, pieces: list[_Piece]) -> Fill:
    if len(pieces) == 1:
        [only] = pieces
        if operator == ":=":
            of_dn = "dn" in rules
            matching = next((each for each in rules if each != "dn"), "")
            return lambda user: wire.rule(attribute, matching, only.filled(user), of_dn=of_dn)
        return lambda user: wire.compares(attribute, operator, only.filled(user))
    if operator != "=":
        raise BadFilter("an asterisk fits only behind =")
    if not any(piece.parts for piece in pieces):
        return lambda _: wire.present(attribute)
    return lambda user: wire.contains(attribute, [piece.filled(user) for piece in pieces])


def _is_name(value: str) -> bool:
    """Whether a value is (part of) a DN, so that a user in it has to be escaped as there."""
    return _IN_A_NAME.search(value) is not None


@frozen
class _Piece:
    """Constant bytes and places in turn."""

    parts: tuple[bytes | str, ...]
    in_a_name: bool

    @classmethod
    def read(cls, text: str, in_a_name: bool) -> _Piece:  # noqa: FBT001 - one of two kinds of text
        split = _PLACES.split(text)
        parts = [_constant(each) if i % 2 == 0 else each for i, each in enumerate(split)]
        return cls(tuple(each for each in parts if each), in_a_name)

    def filled(self, user: User) -> bytes:
        return b"".join(
            part if isinstance(part, bytes) else self._of(user, part) for part in self.parts
        )

    def _of(self, user: User, place: str) -> bytes:
        if place == "dn":
            return user.dn.encode()
        username = names.escape(user.username) if self.in_a_name else user.username
        return username.encode("utf-8", "surrogatepass")


def _constant(text: str) -> bytes:
    r"""The bytes that a text means in which C{\2a} is one byte."""
    if re.search(r"\\(?![0-9A-Fa-f]{2})", text):
        raise BadFilter("a backslash is followed by two hexadecimal digits")
    raw = text.encode()
    return re.sub(rb"\\([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), raw)
