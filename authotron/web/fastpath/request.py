"""
Recognises a simple request for a decision in the bytes of a connection.

Not to recognise a request is always safe: the site answers it. The channel of the site must read
every request that is recognised in exactly the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from authotron.model.hosts import HOST_FIELD
from authotron.model.http_grammar import TOKEN
from authotron.model.request import Presented

LONGEST = 64 * 1024
"""Bytes of the longest head that is recognised; the site reads longer ones."""

LONGEST_START = 16_000
"""Bytes of the longest unfinished head that is kept: for each piece it is read from the start."""

_MOST_FIELDS = 100
_PATHS = (b"/authenticate", b"/auth", b"/_auth")


class Head(NamedTuple):
    """
    The parts of a head that the reply depends on. Never log a head: it contains credentials.

    @ivar has_body: whether the head announces a body, which no reply depends on.
    """

    method: str
    route: str
    version: bytes
    persistent: bool
    presented: Presented
    request_id: bytes | None
    has_body: bool = False


_new = tuple.__new__
"""Makes a named tuple of a tuple: 0.2 us faster than the class does it, which calls Python code."""

_REQUESTS = {
    b"%b %b %b" % (method, path, version): (method.decode(), path.decode(), version)
    for method in (b"GET", b"HEAD")
    for path in _PATHS
    for version in (b"HTTP/1.0", b"HTTP/1.1")
}
_OPENINGS = tuple(line + b"\r\n" for line in _REQUESTS)

# A field is a token, a colon, and a value without control characters except the tab: no folding,
# no bare line end, no blank before the colon. Only the inner quantifiers are possessive: those of
# groups have a bug before Python 3.11.5, see https://github.com/python/cpython/issues/106052.
_FIELDS = re.compile(rb"(?:%b+:[\t -~\x80-\xff]*+\r\n)*\r\n" % TOKEN).fullmatch

_ANYTHING = re.compile(rb"[^\x00]*").fullmatch
_NOTHING = re.compile(rb"(?!)").fullmatch
_MEANING = {
    b"authorization": _ANYTHING,
    b"x-auth-realm": _ANYTHING,
    b"x-request-id": _ANYTHING,
    b"connection": re.compile(rb"close|keep-alive", re.IGNORECASE).fullmatch,
    b"content-length": re.compile(rb"[0-9]{1,18}").fullmatch,
    b"host": HOST_FIELD.fullmatch,
    b"transfer-encoding": re.compile(rb"chunked", re.IGNORECASE).fullmatch,
    b"expect": re.compile(rb"100-continue", re.IGNORECASE).fullmatch,
    b"upgrade": _NOTHING,
}
"""Fields that change the meaning of a request: allowed once, with a value that matches."""


def simple(head: bytes, longest: int = LONGEST, *, whole: bool = True) -> Head | None:
    """
    Return the head of one simple request; C{None} if C{head} is anything else, or has more bytes.

    @param whole: whether C{head} has all fields, so that a C{Host} that is not there is missing.
    """
    line, _, rest = head.partition(b"\r\n")
    request = _REQUESTS.get(line)
    if request is None or len(head) > longest or rest.count(b"\n") > _MOST_FIELDS:
        return None
    found = _meaning(rest) if _FIELDS(rest) else None
    if found is None:
        return None
    get = found.get
    method, route, version = request
    persistent = version == b"HTTP/1.1"
    if whole and persistent and b"host" not in found:
        return None  # the site answers 400 (RFC 9112 section 3.2)
    if b"connection" in found:
        persistent = persistent and found[b"connection"].lower() != b"close"
    has_body: bool | None = False
    if b"content-length" in found or b"transfer-encoding" in found:
        has_body = _announces_body(found, version)
    if has_body is None:
        return None
    presented = _new(Presented, (get(b"authorization"), get(b"x-auth-realm")))
    request_id, lasts = get(b"x-request-id"), persistent and not has_body
    return _new(Head, (method, route, version, lasts, presented, request_id, has_body))


def _announces_body(found: Mapping[bytes, bytes], version: bytes) -> bool | None:
    """Whether the fields announce a body; C{None} if its length is ambiguous."""
    length = found.get(b"content-length")
    if b"transfer-encoding" in found:
        return True if length is None and version == b"HTTP/1.1" else None
    return length is not None and length.strip(b"0") != b""


def values(head: bytes, name: str) -> list[str]:
    """
    Return all values of one field of a simple head, decoded as the site decodes them.

    @param head: the raw bytes of the head, of which L{simple} made a L{Head}.
    """
    opening, lower_case = _opening(name), head.lower()
    found: list[str] = []
    start = lower_case.find(opening)
    while start >= 0:
        end = lower_case.find(b"\r\n", start + 2)
        found.append(head[start + len(opening) : end].strip(b" \t").decode("latin-1"))
        start = lower_case.find(opening, end)
    return found


@cache  # the configuration names all fields that are asked for
def _opening(name: str) -> bytes:
    return b"\r\n%b:" % name.lower().encode("ascii")


def _meaning(lines: bytes) -> dict[bytes, bytes] | None:
    """
    Return the values of the fields in C{_MEANING}; C{None} if one is duplicated or not allowed.

    @param lines: the lines of all fields, and the empty line at the end.
    """
    found: dict[bytes, bytes] = {}
    for line in lines[:-4].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.lower()
        allowed = _MEANING.get(name)
        if allowed is not None:
            value = value.strip(b" \t")
            if name in found or not allowed(value):
                return None
            found[name] = value
    return found


def may_become_simple(start: bytes, longest: int = LONGEST) -> bool:
    """Return whether more bytes could complete a simple head."""
    if len(start) > min(longest, LONGEST_START):
        return False
    lines, end, _ = start.rpartition(b"\r\n")
    if end:
        return simple(lines + b"\r\n\r\n", whole=False) is not None
    return any(line.startswith(start) for line in _OPENINGS)
