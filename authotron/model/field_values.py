"""Encode texts of an identity as values of header fields (RFC 9110 section 5.5)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
"""The characters that need no percent-encoding: printable ASCII except the percent sign."""

_PLAIN_ITEM = _PLAIN.replace(",", "")


def field_value(text: str) -> bytes:
    """Encode the value of a header in UTF-8, without control characters other than the tab."""
    return "".join(c for c in text if c == "\t" or not _is_control(c)).encode("utf-8", "replace")


def exact(text: str) -> bytes:
    """
    Encode a name as the value of a header in UTF-8, without changing any character.

    @raise ValueError: the name is not a valid header value; the identity check refuses it earlier.
    """
    value = text.encode()
    if not text.isprintable() and field_value(text) != value:
        raise ValueError("a user name or realm has characters that a header cannot have")
    return value


def joined(texts: Iterable[str]) -> str:
    """
    Join the items of a list by commas; commas and percent signs inside an item are percent-encoded,
    so that different lists give different values.
    """
    return ",".join([text.replace("%", "%25").replace(",", "%2C") for text in texts])


def percent(text: str) -> bytes:
    """
    Encode a text in ASCII: the percent sign, blanks at an end, and the UTF-8 bytes of everything
    but printable ASCII are percent-encoded (RFC 3986 section 2.1), so that decoding returns the
    text.
    """
    if _is_plain(text):
        return text.encode("ascii")
    encoded = quote(text, _PLAIN, errors="replace")
    inner = encoded.lstrip(" ")
    kept = inner.rstrip(" ")
    before, after = len(encoded) - len(inner), len(inner) - len(kept)
    return ("%20" * before + kept + "%20" * after).encode("ascii")


def percent_joined(texts: Iterable[str]) -> bytes:
    """
    Join the items of a list by commas, each item encoded by L{percent}; commas inside an item are
    encoded as well.
    """
    return ",".join(map(_item, texts)).encode("ascii")


def _item(text: str) -> str:
    if _is_plain(text):
        return text.replace(",", "%2C")
    return quote(text, _PLAIN_ITEM, errors="replace")


def _is_plain(text: str) -> bool:
    """Return whether a text needs no percent-encoding."""
    return text.isascii() and text.isprintable() and "%" not in text and text == text.strip(" ")


def _is_control(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029"
