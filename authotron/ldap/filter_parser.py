"""Parse LDAP search filters with placeholders, by the grammar of RFC 4515 and RFC 4526."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import NamedTuple, NoReturn

from authotron.ldap.filters import (
    PLACEHOLDER,
    Combination,
    Comparison,
    FilterTemplate,
    Negation,
    Node,
    ValueTemplate,
)

_OID = r"(?:[A-Za-z][A-Za-z0-9-]*|(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+)"
_ATTRIBUTE = re.compile(rf"{_OID}(?:;[A-Za-z0-9-]+)*")
_RULES = re.compile(rf"(?P<dn>:[Dd][Nn](?=:))?(?::(?P<rule>{_OID}))?:=")
_OPERATOR = re.compile(r"=|~=|>=|<=")
_VALUE = re.compile(r"(?:[^()\\\0]|\\[0-9A-Fa-f]{2})*")
_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2})")
_RDN_IN_VALUE = re.compile(r"(?:^|[*,;+])\s*[A-Za-z0-9][A-Za-z0-9.-]*\s*=")
_OWN = ("username", "dn")
_MAX_DEPTH = 20
"""Maximum depth of nested filters, such as C{(!(!(cn=x)))}."""


_MISSPELLED = {
    "user": "username", "userdn": "dn", "user-dn": "dn", "login": "username", "input": "username",
}  # fmt: skip
"""Maps each placeholder that other programs use to authotron's placeholder for the same value."""


class InvalidFilter(ValueError):
    """A text that should be an LDAP filter is not a valid one."""


class _Parsed(NamedTuple):
    """A parsed LDAP filter, and the offset in the text at which the filter ends."""

    node: Node
    end: int


def is_template(text: str) -> bool:
    """
    Return whether a text is in parentheses and contains a placeholder, even if authotron does not
    know the placeholder.
    """
    stripped = text.strip()
    return stripped.startswith("(") and stripped.endswith(")") and "{" in stripped


def parse_filter(text: str) -> FilterTemplate:
    """
    Parse a filter with placeholders.

    @raise InvalidFilter: the text is not a filter; the message says at which character.
    """
    stripped = text.strip()
    parsed = _filter(stripped, 0, 0)
    if parsed.end != len(stripped):
        _refuse(stripped, parsed.end, "unexpected text after the filter")
    return FilterTemplate(stripped, parsed.node)


def person_filter(attribute: str) -> FilterTemplate:
    """Return the filter that finds the person whose attribute equals the user name."""
    return parse_filter(f"(&(objectClass=person)({attribute}={{username}}))")


def _refuse(text: str, at: int, why: str) -> NoReturn:
    where = "its end" if at >= len(text) else f"character {at + 1}"
    raise InvalidFilter(f"is not a filter (RFC 4515): {why} at {where}")


def _filter(text: str, at: int, depth: int) -> _Parsed:
    """Parse the filter that begins at an offset."""
    if depth > _MAX_DEPTH:
        _refuse(text, at, f"more than {_MAX_DEPTH} nested filters")
    if text[at : at + 1] != "(":
        _refuse(text, at, "missing opening parenthesis")
    sign = text[at + 1 : at + 2]
    if sign in ("&", "|"):
        node, end = _combination(text, at + 2, depth, sign)
    elif sign == "!":
        negated, end = _filter(text, at + 2, depth + 1)
        node = Negation(negated)
    else:
        node, end = _comparison(text, at + 1)
    if text[end : end + 1] != ")":
        _refuse(text, end, "missing closing parenthesis")
    return _Parsed(node, end + 1)


def _combination(text: str, at: int, depth: int, sign: str) -> _Parsed:
    nodes: list[Node] = []
    while text[at : at + 1] == "(":
        node, at = _filter(text, at, depth + 1)
        nodes.append(node)
    return _Parsed(Combination(sign, tuple(nodes)), at)


def _comparison(text: str, at: int) -> _Parsed:
    match = _ATTRIBUTE.match(text, at)
    attribute, at = (match[0], match.end()) if match else ("", at)
    rules = _RULES.match(text, at)
    if rules is not None:
        if not (attribute or rules["rule"]):
            _refuse(text, at, "missing attribute or matching rule")
        [value], end = _substrings(text, rules.end(), may_split=False)
        extensible = Comparison(attribute, ":=", (value,), rules["rule"] or "", bool(rules["dn"]))
        return _Parsed(extensible, end)
    operator = _OPERATOR.match(text, at)
    if operator is None or not attribute:
        _refuse(text, at, "missing attribute or comparison operator")
    substrings, end = _substrings(text, operator.end(), may_split=operator[0] == "=")
    return _Parsed(Comparison(attribute, operator[0], substrings), end)


def _substrings(text: str, at: int, *, may_split: bool) -> tuple[tuple[ValueTemplate, ...], int]:
    """Parse a value, and split it at its asterisks; only values after C{=} may have asterisks."""
    match = _VALUE.match(text, at)
    # The match with _VALUE is never None, since _VALUE also matches an empty text.
    assert match is not None
    value, end = match[0], match.end()
    if text[end : end + 1] == "\\":
        _refuse(text, end, "a backslash without two hexadecimal digits")
    if text[end : end + 1] == "\0":
        _refuse(text, end, "an unescaped NUL")
    if "*" in value and not may_split:
        _refuse(text, at + value.index("*"), "an asterisk without = before it (write \\2a)")
    _check_braces(text, at, value)
    in_dn = _RDN_IN_VALUE.search(value) is not None
    if in_dn and "*" in value and PLACEHOLDER.search(value):
        _refuse(text, at + value.index("*"), "an asterisk in a DN with a placeholder")
    try:
        return tuple(_value_template(each, in_dn=in_dn) for each in value.split("*")), end
    except UnicodeEncodeError:
        _refuse(text, at, "a value that cannot be encoded as UTF-8")


def _check_braces(text: str, at: int, value: str) -> None:
    """
    Reject braces that are not part of a placeholder, and placeholders that other programs use, such
    as C{{user}}.
    """
    for match in re.finditer(r"\{([^{}]*)\}?", value):
        if PLACEHOLDER.fullmatch(match[0]) is None:
            why = f"unknown placeholder {match[0]} (write \\7b and \\7d for braces)"
            _refuse(text, at + match.start(), why)
        name = match[1].lower()
        meant = _MISSPELLED.get(name) or next(iter(get_close_matches(name, _OWN, 1, 0.8)), None)
        if meant is not None and match[1] != meant:
            why = f"unknown placeholder {match[0]} (write {{{meant}}})"
            _refuse(text, at + match.start(), why)


def _value_template(text: str, *, in_dn: bool) -> ValueTemplate:
    split = PLACEHOLDER.split(text)
    parts = [_constant(each) if i % 2 == 0 else each for i, each in enumerate(split)]
    return ValueTemplate(tuple(each for each in parts if each), in_dn)


def _constant(text: str) -> bytes:
    r"""Return the bytes of a constant value, with escapes such as C{\2a} decoded."""
    return _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), text.encode())
