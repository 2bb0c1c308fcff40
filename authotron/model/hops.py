"""Reads the addresses of clients and proxies in C{X-Forwarded-For} and C{Forwarded}."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from attrs import frozen

from authotron.model.hosts import FORWARDED_HOST, address_of
from authotron.model.http_grammar import TOKEN

_MOST_HOPS = 64
"""
Maximum number of addresses that are read of one header; each takes about 10 us of
processor time.
"""

_LONGEST_ADDRESS = 64
"""Maximum number of characters of an address whose canonical form is cached."""

_LONGEST_ELEMENT = 1_000
"""
Maximum number of characters of the element of one proxy in C{Forwarded}; a longer element is
malformed.
"""

_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]*(?:%[0-9A-Za-z._~-]+)?)\]|([0-9.]+))(?::[0-9]{1,5})?")
"""
Matches an IPv6 address in brackets, perhaps with a zone, or an IPv4 address, perhaps with a port.
"""

_TOKEN = TOKEN.decode()
_UNQUOTED = r"[!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]+"
_VALUE = rf"(?:{_UNQUOTED}|\"(?:[^\"\\]|\\.)*\")"
_PAIR = re.compile(rf"({_TOKEN})=({_VALUE})")
_PERHAPS = rf"[ \t]*(?:{_PAIR.pattern}[ \t]*)?"
_ELEMENT = re.compile(rf"{_PERHAPS}(?:;{_PERHAPS})*")
"""
Matches the element of one proxy in C{Forwarded} (RFC 7239), also with blanks around C{;}, and with
an address that has a port or brackets but no quotes.
"""


@frozen
class Hop:
    """
    The information of one proxy about the peer from which the proxy received a request.

    @ivar address: the address of the peer, or C{None} if the address is malformed.
    @ivar host: the host that the client requested from the proxy, if the header of the proxy names
        the host.
    @ivar scheme: the scheme of the request that the proxy received, if the header names the scheme.
    """

    address: str | None
    host: str | None = None
    scheme: str | None = None


def listed(lines: Sequence[str]) -> Iterator[Hop]:
    """Yield the hops of C{X-Forwarded-For}, the nearest first; several lines are one list."""
    for text in reversed(",".join(lines).rsplit(",", _MOST_HOPS - 1)):
        hop = text.strip(" \t")
        if hop:  # empty elements of a list in a header are ignored (RFC 9110 section 5.6.1.2)
            yield Hop(_address(hop))


def forwarded(lines: Sequence[str]) -> Iterator[Hop]:
    """
    Yield the hops of C{Forwarded} (RFC 7239), the nearest first; several lines are one list.

    The list is read from its end, because trusted proxies append elements to a list that the client
    may have begun with anything, such as a quoted string without an end. Elements of the list to
    the left of a malformed element are ignored.
    """
    left = ",".join(lines)
    end = comma = len(left)
    for _ in range(_MOST_HOPS):
        comma = left.rfind(",", 0, comma)
        element = left[comma + 1 : end]
        if len(element) > _LONGEST_ELEMENT:
            break
        if not element.strip(" \t"):
            end = comma
        elif _ELEMENT.fullmatch(element):
            yield _hop(element)
            end = comma
        if comma < 0:
            break
    if end > 0:
        yield Hop(None)


def _hop(element: str) -> Hop:
    pairs = [(name.lower(), _unquoted(value)) for name, value in _PAIR.findall(element)]
    found = dict(pairs)
    if len(found) != len(pairs):
        return Hop(None)  # an element with a duplicate parameter is malformed
    named = found.get("host", "")
    host = named if FORWARDED_HOST.fullmatch(named) else None
    return Hop(_address(found.get("for", "")), host, found.get("proto"))


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _address(text: str) -> str | None:
    """Return an address without its port and brackets, or C{None} if the address is malformed."""
    parse = _parse_address if len(text) <= _LONGEST_ADDRESS else _parse_address.__wrapped__
    return parse(text)


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> str | None:
    found = _WITH_PORT.fullmatch(text)
    if found is None:
        return None if "[" in text or "]" in text else address_of(text)
    return address_of(found[1] or found[2] or "")
