"""
Parse simple requests for a decision from the bytes of a connection.

The L{Site} answers each request that this module does not recognise, so not recognising one is
safe. This module may recognise a request only if the L{Site} would parse the same request from the
same bytes.
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
"""
Maximum number of bytes in a request head on the fast path; the L{Site} may
accept longer ones.
"""

LONGEST_START = 16_000
"""
Maximum number of bytes in an unfinished request head on the fast path, which is parsed again from
its start whenever bytes arrive.
"""

_MOST_FIELDS = 100
_PATHS = (b"/authenticate", b"/auth", b"/_auth")


class Shape(NamedTuple):
    """
    The parts of a request head that decide how a reply is written and counted.

    @ivar persistent: whether the connection stays open after the reply.
    @ivar has_body: whether the headers announce a request body, which is ignored.
    """

    method: str
    route: str
    version: bytes
    persistent: bool
    has_body: bool = False


class Head(NamedTuple):
    """
    The parts of a request head on which the reply depends. Never log an object of this class,
    because it contains credentials.
    """

    shape: Shape
    presented: Presented
    request_id: bytes | None


_new = tuple.__new__
"""Converts a tuple to a named tuple, 0.2 us faster than a call of the class of the named tuple."""

_REQUESTS = {
    b"%b %b %b" % (method, path, version): Shape(
        method.decode(), path.decode(), version, persistent=version == b"HTTP/1.1"
    )
    for method in (b"GET", b"HEAD")
    for path in _PATHS
    for version in (b"HTTP/1.0", b"HTTP/1.1")
}
_OPENINGS = tuple(line + b"\r\n" for line in _REQUESTS)

# A header is a token, a colon, and a value without control characters except the tab: no line
# folding, no CR or LF alone, no blank before the colon. Only quantifiers of single characters are
# possessive, because possessive quantifiers of groups have a bug before Python 3.11.5, see
# https://github.com/python/cpython/issues/106052.
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
"""
Headers that change the meaning of a request, each with a function that matches the values allowed
on the fast path; each may occur once.
"""


def simple(head: bytes, longest: int = LONGEST, *, whole: bool = True) -> Head | None:
    """
    Parse the head of one simple request, or return C{None} if C{head} is not exactly such a head.

    @param whole: whether C{head} is complete, so that a header C{Host} can be required.
    """
    line, _, rest = head.partition(b"\r\n")
    shape = _REQUESTS.get(line)
    if shape is None or len(head) > longest or rest.count(b"\n") > _MOST_FIELDS:
        return None
    found = _meaning(rest) if _FIELDS(rest) else None
    if found is None:
        return None
    get = found.get
    if whole and shape.persistent and b"host" not in found:
        return None  # The L{Site} answers 400, because Host is missing (RFC 9112 section 3.2).
    if b"connection" in found and found[b"connection"].lower() == b"close":
        shape = shape._replace(persistent=False)
    if b"content-length" in found or b"transfer-encoding" in found:
        has_body = _announces_body(found, shape.version)
        if has_body is None:
            return None
        if has_body:
            shape = shape._replace(persistent=False, has_body=True)
    presented = _new(Presented, (get(b"authorization"), get(b"x-auth-realm")))
    return _new(Head, (shape, presented, get(b"x-request-id")))


def _announces_body(found: Mapping[bytes, bytes], version: bytes) -> bool | None:
    """Return whether headers announce a request body, or C{None} if its length is ambiguous."""
    length = found.get(b"content-length")
    if b"transfer-encoding" in found:
        return True if length is None and version == b"HTTP/1.1" else None
    return length is not None and length.strip(b"0") != b""


def values(head: bytes, name: str) -> list[str]:
    """
    Return all values of one header in the head of a simple request, decoded as the L{Site} decodes
    them.

    @param head: the raw bytes of a request head that L{simple} accepted.
    """
    opening, lower_case = _opening(name), head.lower()
    found: list[str] = []
    start = lower_case.find(opening)
    while start >= 0:
        end = lower_case.find(b"\r\n", start + 2)
        found.append(head[start + len(opening) : end].strip(b" \t").decode("latin-1"))
        start = lower_case.find(opening, end)
    return found


@cache  # only headers that the configuration names are read, so the cache is small
def _opening(name: str) -> bytes:
    return b"\r\n%b:" % name.lower().encode("ascii")


def _meaning(lines: bytes) -> dict[bytes, bytes] | None:
    """
    Return the values of the headers in C{_MEANING}, or C{None} if a header is duplicate or its
    value not allowed.

    @param lines: the lines of all headers, and the empty line at the end.
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
    """Return whether the head can become that of a simple request when more bytes arrive."""
    if len(start) > min(longest, LONGEST_START):
        return False
    lines, end, _ = start.rpartition(b"\r\n")
    if end:
        return simple(lines + b"\r\n\r\n", whole=False) is not None
    return any(line.startswith(start) for line in _OPENINGS)
