"""
The canonical spelling of URL paths, so that an authorization rule about a path sees each path in
one spelling only.

Proxies and backends disagree about some paths: one removes dot segments or merges slashes, another
decodes C{%2F} once or twice, a third takes a backslash for a slash. A rule cannot know which
resource an ambiguous path names, so L{canonical} refuses the path, unless the caller allows the
oddity that makes it ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum


class Oddity(Enum):
    """Why a proxy and a backend could take the same path for different resources."""

    NOT_ABSOLUTE = "not-absolute"
    FRAGMENT = "fragment"
    CONTROL = "control"
    BAD_PERCENT = "bad-percent"
    NOT_UTF8 = "not-utf-8"
    BACKSLASH = "backslash"
    ENCODED_SLASH = "encoded-slash"
    DOUBLE_ENCODING = "double-encoding"
    SEMICOLON = "semicolon"
    EMPTY_SEGMENT = "empty-segment"
    ENCODED_DOT_SEGMENT = "encoded-dot-segment"
    ABOVE_ROOT = "above-root"


ALLOWABLE = frozenset({Oddity.ENCODED_SLASH, Oddity.SEMICOLON, Oddity.EMPTY_SEGMENT})
"""
The oddities of paths that a caller may allow, because some backends need them. They are C{%2F} in
names (GitLab), parameters behind a semicolon, and empty segments, which are kept.
"""


class AmbiguousPath(ValueError):
    """
    A path that proxies and backends could take for different resources.

    @ivar oddity: the property of the path that proxies and backends interpret differently.
    """

    def __init__(self, oddity: Oddity) -> None:
        super().__init__(oddity.value.replace("-", " "))
        self.oddity = oddity


_ORDINARY = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)+/?|/")
"""
Matches nearly all paths that are canonical already: no segment begins with a dot, and only the last
segment may be empty.
"""

_PERCENT = re.compile(r"%(?:[0-9A-Fa-f]{2})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]|%[01][0-9A-F]|%7F")
_DOUBLE = re.compile(r"%25[0-9A-Fa-f]{2}")

_IN_SEGMENT = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@"
)
"""
The characters that may appear unencoded in a segment of a path (C{pchar} of RFC 3986 section 3.3),
without the semicolon. Every server decodes their percent-encoded form to the same character, so
this form is decoded. RFC 3986 section 6.2.2.2 demands decoding for the unreserved characters only.
"""

_KEPT = frozenset(b"%/;")


def is_ordinary(path: str) -> bool:
    """
    Return whether a path is in canonical spelling already, as nearly all paths are; the result is
    C{False} for some rare canonical paths as well.
    """
    return _ORDINARY.fullmatch(path) is not None


def split_target(target: bytes) -> tuple[bytes, bytes | None]:
    """
    Return the path of a request target, and the query without C{?}, or C{None} if there is no
    query.
    """
    path, mark, query = target.partition(b"?")
    return path, query if mark else None


def canonical(path: bytes, allowed: Collection[Oddity] = ()) -> str:
    """
    Return the canonical spelling of a path.

    Percent-encoded characters that are allowed unencoded in a segment are decoded, any others are
    encoded with hexadecimal digits in upper case, and dot segments are removed (RFC 3986 section
    6.2.2). Two paths that all servers take for the same resource have the same canonical spelling,
    and a canonical path is its own canonical spelling. Letter case and a slash at the end are kept,
    because servers may distinguish paths by them.

    @param path: the path as it was sent, without the query.
    @param allowed: the L{ALLOWABLE} oddities that do not raise an exception.

    @raise AmbiguousPath: proxies and backends could take the path for different resources.
    """
    text = path.decode("latin-1")
    if _ORDINARY.fullmatch(text):
        return text
    if not text.startswith("/"):
        raise AmbiguousPath(Oddity.NOT_ABSOLUTE)
    if "#" in text:
        raise AmbiguousPath(Oddity.FRAGMENT)
    if any(len(found) == 1 for found in _PERCENT.findall(text)):
        raise AmbiguousPath(Oddity.BAD_PERCENT)
    spelt = _spell(path)
    _check_characters(spelt, path, allowed)
    return _without_dot_segments(spelt, text, allowed)


def _spell(path: bytes) -> str:
    """
    Return a path in which each character is spelt in one way only: literally, or
    percent-encoded.
    """
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: _decoded(int(found[1], 16)), path)
    return "".join(
        chr(each) if each in _IN_SEGMENT or each in _KEPT else f"%{each:02X}" for each in raw
    )


def _decoded(byte: int) -> bytes:
    return bytes([byte]) if byte in _IN_SEGMENT else b"%%%02X" % byte


def _check_characters(spelt: str, path: bytes, allowed: Collection[Oddity]) -> None:
    """
    Check that all servers read the characters of a path alike.

    @param spelt: the path in the uniform spelling that L{_spell} returns.
    @param path: the path as it was sent.

    @raise AmbiguousPath: the path has a character that web servers read in different ways.
    """
    if _CONTROL.search(spelt):
        raise AmbiguousPath(Oddity.CONTROL)
    if not _is_utf8(spelt):
        raise AmbiguousPath(Oddity.NOT_UTF8)
    if "%5C" in spelt:
        raise AmbiguousPath(Oddity.BACKSLASH)
    if _DOUBLE.search(spelt):
        raise AmbiguousPath(Oddity.DOUBLE_ENCODING)
    if "%2F" in spelt and Oddity.ENCODED_SLASH not in allowed:
        raise AmbiguousPath(Oddity.ENCODED_SLASH)
    if b";" in path and Oddity.SEMICOLON not in allowed:
        raise AmbiguousPath(Oddity.SEMICOLON)


def _is_utf8(spelt: str) -> bool:
    raw = re.sub(r"%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), spelt)
    try:
        raw.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _without_dot_segments(spelt: str, sent: str, allowed: Collection[Oddity]) -> str:
    """
    Remove the segments C{.} and C{..} from a path (RFC 3986 section 5.2.4).

    @param spelt: the path in the uniform spelling that L{_spell} returns.
    @param sent: the path as the client sent it, with as many segments as C{spelt}.

    @raise AmbiguousPath: proxies and backends read a segment of the path in different ways.
    """
    segments, as_sent = spelt.split("/")[1:], sent.split("/")[1:]
    if "%2F" in spelt and not {".", ".."}.isdisjoint(
        map(_without_parameters, re.split("/|%2F", spelt))
    ):
        raise AmbiguousPath(Oddity.ENCODED_DOT_SEGMENT)
    has_empty = "" in segments[:-1]
    if has_empty and Oddity.EMPTY_SEGMENT not in allowed:
        raise AmbiguousPath(Oddity.EMPTY_SEGMENT)
    left: list[str] = []
    for segment, raw in zip(segments, as_sent, strict=True):
        name = _without_parameters(segment)
        if name not in (".", ".."):
            left.append(segment)
            continue
        if raw != segment or segment != name:
            raise AmbiguousPath(Oddity.ENCODED_DOT_SEGMENT)
        if has_empty:
            raise AmbiguousPath(Oddity.EMPTY_SEGMENT)
        if segment == "..":
            if not left:
                raise AmbiguousPath(Oddity.ABOVE_ROOT)
            left.pop()
    if segments[-1] in (".", ".."):
        left.append("")
    return "/" + "/".join(left)


def _without_parameters(segment: str) -> str:
    """
    Return a segment of a path without its parameters, which begin at a semicolon.

    A proxy that decodes C{%3B} sends the backend a semicolon, which may begin the parameters of a
    segment.
    """
    return segment.replace("%3B", ";").partition(";")[0]
