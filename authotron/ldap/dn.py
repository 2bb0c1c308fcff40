"""Parse, compare and escape distinguished names (RFC 4514)."""

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
_STRING_TAGS = (0x04, 0x0C, 0x13, 0x14, 0x16)
"""The BER tags of octet strings and of the string types that are a subset of UTF-8."""

_MAX_CHARACTERS, _MAX_RDNS = 2_000, 100
"""Limits of a DN in characters and in RDNs; a longer DN is rejected as invalid."""


class InvalidDn(ValueError):
    """The text is not a distinguished name."""


@frozen
class Rdn:
    """
    A relative distinguished name: one step of a DN, such as C{cn=Admin} or C{cn=J+uid=7}.

    @ivar pairs: the attributes of the RDN with their values; several if joined by C{+}.
    @ivar start: offset at which the RDN begins in the text of the DN.
    """

    pairs: tuple[tuple[str, str], ...]
    start: int = field(default=0, eq=False)

    def value_of(self, attribute: str) -> str | None:
        """
        Return the value of the attribute with a given lower-case name, or C{None} if the RDN has no
        such attribute.
        """
        return next((value for name, value in self.pairs if name.lower() == attribute), None)

    def value(self) -> str:
        """Return the value of C{cn}, or the first value of the RDN if there is no C{cn}."""
        common = self.value_of("cn")
        return self.pairs[0][1] if common is None else common

    def fold(self) -> frozenset[tuple[str, str]]:
        """Return a form of the RDN that is equal for all ways to write it."""
        return frozenset((name.lower(), fold_value(value)) for name, value in self.pairs)


Name = tuple[Rdn, ...]
"""A parsed DN: its RDNs from the leaf to the root."""


@lru_cache(8192)
def parse_dn(text: str) -> Name:
    """
    Parse a DN. The last 8192 parsed DNs are cached, since users share most of their groups.

    @raise InvalidDn: the text is not a DN, or it is too long.
    """
    if len(text) > _MAX_CHARACTERS:
        raise InvalidDn(f"a DN may have at most {_MAX_CHARACTERS} characters")
    rdns: list[Rdn] = []
    at, start, pairs = 0, 0, []
    while text.strip():
        pair, at = _pair(text, at)
        pairs.append(pair)
        if at < len(text) and text[at] == "+":
            at += 1
            continue
        rdns.append(Rdn(tuple(pairs), start))
        if len(rdns) > _MAX_RDNS:
            raise InvalidDn(f"a DN may have at most {_MAX_RDNS} components")
        if at == len(text):
            break
        at, pairs = at + 1, []
        start = at + len(text[at:]) - len(text[at:].lstrip())
    return tuple(rdns)


def fold_dn(name: Name) -> tuple[frozenset[tuple[str, str]], ...]:
    """Return a form of a DN that is equal for all ways to write it."""
    return tuple(rdn.fold() for rdn in name)


@lru_cache(4096)
def fold_value(value: str) -> str:
    """
    Return a value without the differences that directories ignore in comparisons: case, width,
    extra blanks.
    """
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def escape_value(value: str) -> str:
    """Escape a value so that it can be inserted in a DN (RFC 4514 section 2.4)."""
    text = re.sub(r'(["+,;<>=\\])', r"\\\1", value)
    text = re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\{ord(match[0]):02x}", text)
    if text.startswith((" ", "#")):
        text = f"\\{text}"
    if value.endswith(" ") and len(value) > 1:
        text = f"{text[:-1]}\\ "
    return text


def _pair(text: str, at: int) -> tuple[tuple[str, str], int]:
    """Parse an attribute with its value; return both, and the offset of the next separator."""
    attribute = _ATTRIBUTE.match(text, at)
    if attribute is None:
        raise InvalidDn("invalid DN: expected an attribute and an equals sign")
    value, end = _value(text, attribute.end())
    if end < len(text) and text[end] not in ",;+":
        raise InvalidDn("invalid DN: expected a comma or plus sign after a value")
    return (attribute[1].removeprefix("OID.").removeprefix("oid."), value), end


def _value(text: str, at: int) -> tuple[str, int]:
    if match := _HEX.match(text, at):
        return _decode_hex(match[1]), match.end()
    if match := _QUOTED.match(text, at):
        return _unescape(match[1]), match.end()
    match = _PLAIN.match(text, at)
    # The match with _PLAIN is never None, since _PLAIN also matches an empty text.
    assert match is not None
    return _unescape(_strip_end(match[1])), match.end()


def _strip_end(text: str) -> str:
    """Remove unescaped blanks and line feeds at the end of a value of a DN."""
    bare = text.rstrip(" \n")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if backslashes % 2 else bare


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text

    def unescaped(match: re.Match[bytes]) -> bytes:
        return bytes.fromhex(match[1].decode()) if len(match[1]) > 1 else match[1]

    try:
        return _ESCAPE.sub(unescaped, text.encode()).decode()
    except UnicodeError:
        raise InvalidDn("invalid DN: a value is not UTF-8") from None


def _decode_hex(digits: str) -> str:
    """
    Decode a DN's value that is written as the hexadecimal digits of its BER encoding, as
    C{#0403616263}.

    A BER value that is not a string is returned as its hexadecimal digits.
    """
    raw = bytes.fromhex(digits)
    if len(raw) > 1 and raw[0] in _STRING_TAGS and raw[1] == len(raw) - 2:
        try:
            return raw[2:].decode()
        except UnicodeError:
            raise InvalidDn("invalid DN: a value is not UTF-8") from None
    return f"#{digits.lower()}"
