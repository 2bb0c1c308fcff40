"""Distinguished names (RFC 4514): read with all their escapes, and compared as directories do."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from attrs import field, frozen

_ATTRIBUTE = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*|(?:[Oo][Ii][Dd]\.)?\d+(?:\.\d+)*)\s*=[ \n]*")
_PLAIN = re.compile(r'((?:\\[0-9A-Fa-f]{2}|\\[ "#+,;<=>\\]|[^\\,;+"])*)')
_QUOTED = re.compile(r'"((?:\\[0-9A-Fa-f]{2}|\\[ "#+,;<=>\\]|[^\\"])*)"\s*')
_HEX = re.compile(r"#((?:[0-9A-Fa-f]{2})+)\s*")
_ESCAPE = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)
_TEXTS = (0x04, 0x0C, 0x13, 0x14, 0x16)
"""The BER tags of octets and of the strings that are, or contain, UTF-8."""


_LONGEST, _STEPS = 2_000, 100
"""Characters and steps of a name; a directory that sends more means no good."""


class InvalidDn(ValueError):
    """It is no distinguished name."""


@frozen
class Rdn:
    """
    One step of a name: a value, or several that count together.

    @ivar start: where it begins in the text it was read from.
    """

    pairs: tuple[tuple[str, str], ...]
    start: int = field(default=0, eq=False)

    def value_of(self, attribute: str) -> str | None:
        """The value of an attribute, whatever the case of its name."""
        return next((value for name, value in self.pairs if name.lower() == attribute), None)

    def value(self) -> str:
        """The value that stands for it: its common name, or else the first."""
        common = self.value_of("cn")
        return self.pairs[0][1] if common is None else common

    def folded(self) -> frozenset[tuple[str, str]]:
        """What is the same for all ways to write it."""
        return frozenset((name.lower(), fold_value(value)) for name, value in self.pairs)


Name = tuple[Rdn, ...]
"""The steps of a name, from the leaf to the root."""


@lru_cache(8192)
def parse_dn(text: str) -> Name:
    """
    The steps of a name. Names of groups come again with every user, so that they are remembered.

    @raise BadName: it is none.
    """
    if len(text) > _LONGEST:
        raise InvalidDn("it is too long")
    parts: list[Rdn] = []
    at, start, pairs = 0, 0, []
    while text.strip():
        pair, at = _pair(text, at)
        pairs.append(pair)
        if at < len(text) and text[at] == "+":
            at += 1
            continue
        parts.append(Rdn(tuple(pairs), start))
        if len(parts) > _STEPS:
            raise InvalidDn("it has too many steps")
        if at == len(text):
            break
        at, pairs = at + 1, []
        start = at + len(text[at:]) - len(text[at:].lstrip())
    return tuple(parts)


def fold_dn(name: Name) -> tuple[frozenset[tuple[str, str]], ...]:
    """What is the same for all ways to write a name."""
    return tuple(part.folded() for part in name)


@lru_cache(4096)
def fold_value(value: str) -> str:
    """A value without the differences that directories overlook: case, width, blanks."""
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def escape_value(value: str) -> str:
    """A value as it may stand inside a name."""
    text = re.sub(r'(["+,;<>=\\])', r"\\\1", value)
    text = re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\{ord(found[0]):02x}", text)
    if text.startswith((" ", "#")):
        text = f"\\{text}"
    if value.endswith(" ") and len(value) > 1:
        text = f"{text[:-1]}\\ "
    return text


def _pair(text: str, at: int) -> tuple[tuple[str, str], int]:
    """An attribute with its value, and the place of the separator behind them."""
    attribute = _ATTRIBUTE.match(text, at)
    if attribute is None:
        raise InvalidDn("an attribute and an equals sign are missing")
    value, end = _value(text, attribute.end())
    if end < len(text) and text[end] not in ",;+":
        raise InvalidDn("something stands behind a value")
    return (attribute[1].removeprefix("OID.").removeprefix("oid."), value), end


def _value(text: str, at: int) -> tuple[str, int]:
    if found := _HEX.match(text, at):
        return _of_hex(found[1]), found.end()
    if found := _QUOTED.match(text, at):
        return _unescaped(found[1]), found.end()
    found = _PLAIN.match(text, at)
    assert found is not None  # it matches nothing, too
    return _unescaped(_without_end_blanks(found[1])), found.end()


def _without_end_blanks(text: str) -> str:
    """Blanks at the end do not count, unless the first of them is escaped."""
    bare = text.rstrip(" \n")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if backslashes % 2 else bare


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text

    def meant(found: re.Match[bytes]) -> bytes:
        return bytes.fromhex(found[1].decode()) if len(found[1]) > 1 else found[1]

    try:
        return _ESCAPE.sub(meant, text.encode()).decode()
    except UnicodeError:
        raise InvalidDn("a value is not UTF-8") from None


def _of_hex(digits: str) -> str:
    """A value given as the bytes of its BER encoding; one that is no text stays as it is."""
    raw = bytes.fromhex(digits)
    if len(raw) > 1 and raw[0] in _TEXTS and raw[1] == len(raw) - 2:
        try:
            return raw[2:].decode()
        except UnicodeError:
            raise InvalidDn("a value is not UTF-8") from None
    return f"#{digits.lower()}"
