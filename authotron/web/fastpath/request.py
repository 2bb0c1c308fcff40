"""
Parse the authentication requests of proxies from the bytes of a connection.

The L{Site} answers each request that this module does not recognise, so it is safe not to recognise
a request. The fast path may recognise a request only if the L{Site} would parse the same request
from the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from attrs import evolve, frozen

from authotron.gateway.contracts import Asked, Contracts
from authotron.model.hosts import HOST_FIELD
from authotron.model.http_grammar import TOKEN
from authotron.model.request import Presented
from authotron.plugin.contract import Contract, Endpoint
from authotron.plugin.fact_parsers import Parse, parser_of
from authotron.plugin.fact_sources import Header
from authotron.telemetry.metrics import METHODS
from authotron.web.framing import MalformedRequest, in_ascii
from authotron.web.replies import OPENING

LONGEST = 64 * 1024
"""
Maximum number of bytes in a request head on the fast path; the L{Site} may
accept longer ones.
"""

_MOST_FIELDS = 4096
"""Maximum number of headers, which is the same as the maximum of the L{Site}."""

_LONGEST_METHOD = 32
"""Maximum number of bytes of a method that has not arrived as a whole."""

END = b"\r\n\r\n"
"""The end of a request head."""


@frozen
class Shape:
    """
    The parts of a request head that decide how a reply is made, written and counted.

    The class is no named tuple, because its fields are read for each request, and reading a field
    of a tuple takes longer; most requests share the objects of the L{Recogniser}.

    @ivar method: the method as a metric label.
    @ivar asked: the contract of the proxy, without the part that the proxy appended to the path.
    @ivar is_plain: whether the proxy gets the reply that is stored in the decision, and asks with a
        usual method.
    @ivar longest: the maximum number of bytes of the reply, without its first lines.
    @ivar needs: the headers, in lower case, each of which must occur exactly once in the proxy's
        request; it is C{None} if more than the number of these headers must be checked.
    @ivar reads: the headers that are read from each head.
    @ivar states: the facts of a request that the headers in C{needs} state: the name of each fact,
        the name of its header, and the function that parses the value of the header.
    @ivar is_complete: whether C{states} contains all facts on which policies always depend.
    @ivar persistent: whether the connection stays open after the reply.
    @ivar has_body: whether the headers announce a request body, which is ignored.
    @ivar is_bad: whether the header C{Host} is missing, duplicate or malformed, so that the reply
        is a 400 (RFC 9112 section 3.2).
    """

    method: str
    route: str
    version: bytes
    asked: Asked
    is_plain: bool
    longest: int
    needs: frozenset[bytes] | None
    reads: frozenset[bytes]
    persistent: bool
    states: tuple[tuple[str, bytes, Parse], ...] = ()
    is_complete: bool = False
    has_body: bool = False
    is_bad: bool = False


class Head(NamedTuple):
    """
    The parts of a request head on which the reply depends. Never log an object of this class,
    because it contains credentials.

    @ivar is_stated: whether each header that the contract needs occurs exactly once.
    @ivar fields: the values of the headers that are read from each head.
    """

    shape: Shape
    presented: Presented
    request_id: bytes | None
    is_stated: bool
    fields: Mapping[bytes, bytes]


_new = tuple.__new__
"""Converts a tuple to a named tuple, 0.2 us faster than a call of the class of the named tuple."""

_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")
_TARGET = re.compile(rb"[!-~\x80-\xff]++").fullmatch
_METHOD = re.compile(TOKEN).fullmatch

# A header is a token, a colon, and a value without control characters except the tab: no line
# folding, no CR or LF alone, no blank before the colon. Only quantifiers of single characters are
# possessive, because possessive quantifiers of groups have a bug before Python 3.11.5, see
# https://github.com/python/cpython/issues/106052.
_FIELDS = re.compile(rb"(?:%b+:[\t -~\x80-\xff]*+\r\n)*\r\n" % TOKEN).fullmatch

_USUAL = (b"GET", b"HEAD")
"""The methods that metrics show from the start."""

_FIRST = frozenset({b"authorization", b"x-auth-realm", b"x-request-id"})
"""The headers of which only the first one counts if there are several."""

_READ = _FIRST | {b"connection", b"content-length", b"host", b"transfer-encoding"}
"""
Headers that change the meaning of a request, so that the fast path does not recognise it. The
headers C{Expect}, C{Upgrade} and C{TE} are not listed, because a proxy's request is answered when
its head is read.
"""

_JOINED = frozenset({b"connection", b"host"})
"""Headers whose values are joined by commas if there are several; a joined host is malformed."""

_NOTHING: frozenset[bytes] = frozenset()
"""The headers that the contracts of most proxies need."""

_ALWAYS_NEEDED = ("method", "path")
"""The facts of a request on which policies always depend, apart from the namespace."""

_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
_DUPLICATE = b""
"""
A marker among the names of headers: it shows that a header which the contract needs
is duplicate.
"""

_LENGTH = re.compile(rb"[0-9]{1,18}").fullmatch


class Recogniser:
    """Recognises the authentication requests of the proxies whose contracts are configured."""

    def __init__(self, contracts: Contracts) -> None:
        """@param contracts: the contracts, each with the paths that its proxy requests."""
        self.contracts = contracts
        self._shapes: dict[bytes, Shape] = {}
        self._by_parts: dict[tuple[bytes, int, bytes], Shape] = {}

    def simple(self, head: bytes, longest: int = LONGEST) -> Head | None:
        """
        Parse a head, or return C{None} if C{head} is not exactly the head of one authentication
        request of a proxy.
        """
        if not head.endswith(END):
            return None
        line, _, rest = head.partition(b"\r\n")
        shape = self._shapes.get(line) or self._shape_of(line)
        if shape is None or len(head) > longest or rest.count(b"\n") > _MOST_FIELDS:
            return None
        found = _meaning(rest, shape.reads) if _FIELDS(rest) else None
        if found is None:
            return None
        get = found.get
        host = get(b"host")
        # Requests of HTTP/1.0 may lack the header Host. The joined value of a duplicate Host header
        # is malformed.
        if shape.persistent if host is None else host and not HOST_FIELD.fullmatch(host):
            shape = evolve(shape, persistent=False, is_bad=True)
        if b"connection" in found and _closes(found[b"connection"]):
            shape = evolve(shape, persistent=False)
        if b"content-length" in found or b"transfer-encoding" in found:
            has_body = _announces_body(found, shape.version)
            if has_body is None:
                return None
            if has_body:
                shape = evolve(shape, persistent=False, has_body=True)
        presented = _new(Presented, (get(b"authorization"), get(b"x-auth-realm"), ()))
        is_stated = shape.needs is _NOTHING or _states(found, shape.needs)
        return _new(Head, (shape, presented, get(b"x-request-id"), is_stated, found))

    def _shape_of(self, line: bytes) -> Shape | None:
        """
        Return the shape of a request line, or C{None} if no proxy sends such a line.

        A line whose target is exactly the path of an endpoint is remembered with its shape, unless
        its method is unusual.
        """
        method, _, rest = line.partition(b" ")
        target, _, version = rest.partition(b" ")
        asked = self.contracts.find(target)
        if asked is None or version not in _VERSIONS or not _TARGET(target):
            return None
        if not target.isascii():
            try:
                in_ascii(target)
            except MalformedRequest:
                return None
        # an endpoint is known by its id, because the contracts keep each endpoint alive
        parts = method, id(asked.endpoint), version
        shape = self._by_parts.get(parts)
        if shape is None:
            methods = asked.endpoint.methods
            if not _METHOD(method) or (methods and method.decode() not in methods):
                return None
            shape = _shape(method, asked._replace(target=b""), version)
            if shape.method not in METHODS:
                return shape
            self._by_parts[parts] = shape
        if target in self.contracts.exact:
            self._shapes[line] = shape
        return shape

    def may_become_simple(self, start: bytes, longest: int = LONGEST) -> bool:
        """
        Return whether the head can become that of a proxy's authentication request when more bytes
        arrive.

        @param start: the beginning of a request head, without its end.
        """
        if len(start) > longest:
            return False
        line, end, _ = start.partition(b"\r\n")
        if end:
            return line in self._shapes or self._shape_of(line) is not None
        return b"\n" not in line and self._may_become_line(line.removesuffix(b"\r"))

    def _may_become_line(self, start: bytes) -> bool:
        method, space, rest = start.partition(b" ")
        if not space:
            return len(method) <= _LONGEST_METHOD and (not method or bool(_METHOD(method)))
        target, space, version = rest.partition(b" ")
        if not _METHOD(method):
            return False
        if self.contracts.find(target) is not None:
            return any(each.startswith(version) for each in _VERSIONS)
        return not space and self.contracts.may_become_path(target)


def _shape(method: bytes, asked: Asked, version: bytes) -> Shape:
    name = method.decode()
    contract, endpoint, _ = asked
    needs = _needs(contract, endpoint)
    states = _states_facts(endpoint) if needs else ()
    return Shape(
        name if name in METHODS else "other",
        endpoint.path,
        version,
        asked,
        contract.is_plain and method in _USUAL,
        contract.max_head_bytes - OPENING,
        needs,
        _READ | needs if needs else _READ,
        persistent=version == _VERSIONS[1],
        states=states,
        is_complete=len(states) == len(_ALWAYS_NEEDED) and not endpoint.names_namespace,
    )


def _states_facts(endpoint: Endpoint) -> tuple[tuple[str, bytes, Parse], ...]:
    """
    Return the facts on which policies always depend, if each is stated in a header of
    its own.
    """
    found = {fact: endpoint.sources.get(fact) for fact in _ALWAYS_NEEDED}
    return tuple(
        (fact, source.name.lower().encode(), parser_of(fact))
        for fact, source in found.items()
        if fact in endpoint.required and isinstance(source, Header)
    )


def stated_facts(shape: Shape, fields: Mapping[bytes, bytes]) -> dict[str, object]:
    """
    Return the facts of a request that the headers of a head state; the sender of the head is a
    trusted proxy.

    A missing or malformed fact is left out; a condition that needs it reads it in the usual way,
    which raises the exception that says what is wrong.
    """
    known: dict[str, object] = {}
    for fact, name, parse in shape.states:
        value = fields.get(name)
        if value:
            try:
                known[fact] = parse(value.decode("latin-1"))
            except ValueError:
                continue
    return known


def _needs(contract: Contract, endpoint: Endpoint) -> frozenset[bytes] | None:
    """
    Return the headers that each request to an endpoint must have exactly once, or C{None} if more
    must be checked.
    """
    found = [endpoint.sources.get(fact) for fact in endpoint.required]
    headers = [each for each in found if isinstance(each, Header) and each.stands_once]
    if contract.authorization != "first" or len(headers) != len(found) or endpoint.refuses_twins:
        return None
    return frozenset(each.name.lower().encode() for each in headers) or _NOTHING


def _states(found: Mapping[bytes, bytes], needs: frozenset[bytes] | None) -> bool:
    """Return whether each header that a contract needs occurs exactly once."""
    return needs is not None and needs <= found.keys() and _DUPLICATE not in found


def _closes(connection: bytes) -> bool:
    """Return whether the connection options contain C{close} (RFC 9112 section 9.6)."""
    if connection == b"close":
        return True
    return b"close" in [option.strip(b" \t") for option in connection.lower().split(b",")]


def _announces_body(found: Mapping[bytes, bytes], version: bytes) -> bool | None:
    """Return whether headers announce a request body, or C{None} if its length is ambiguous."""
    length = found.get(b"content-length")
    coding = found.get(b"transfer-encoding")
    if coding is not None:
        is_chunked = coding.lower() == b"chunked"
        return True if is_chunked and length is None and version == b"HTTP/1.1" else None
    if length is None or not _LENGTH(length):
        return None
    return length.strip(b"0") != b""


def values(head: bytes, name: str) -> list[str]:
    """
    Return all values of one header in the head of a simple request, decoded as the L{Site} decodes
    them.

    @param head: the raw bytes of a request head that L{Recogniser.simple} accepted.
    """
    opening, lower_case = _opening(name), head.lower()
    found: list[str] = []
    start = lower_case.find(opening)
    while start >= 0:
        end = lower_case.find(b"\r\n", start + 2)
        found.append(head[start + len(opening) : end].strip(b" \t").decode("latin-1"))
        start = lower_case.find(opening, end)
    return found


def joined_values(head: bytes, name: bytes) -> bytes | None:
    """Return the values of a header, joined by commas, or C{None} if there is no such header."""
    found = values(head, name.decode("ascii"))
    return ",".join(found).encode("latin-1") if found else None


def has_twin(head: bytes, name: str) -> bool:
    """
    Return whether the request has a header whose name differs from C{name} only in underscores.

    @param head: the raw bytes of a request head that L{Recogniser.simple} accepted.
    """
    opening, lower_case = _opening(name), head.lower()
    dashed = lower_case.replace(b"_", b"-").count(opening.replace(b"_", b"-"))
    return dashed != lower_case.count(opening)


@cache  # only headers that the configuration names are read, so the cache is small
def _opening(name: str) -> bytes:
    return b"\r\n%b:" % name.lower().encode("ascii")


def _meaning(lines: bytes, reads: frozenset[bytes]) -> dict[bytes, bytes] | None:
    """
    Return the values of some headers, or C{None} if a header that declares a length is duplicate.

    @param lines: the lines of all headers, and the empty line at the end.
    @param reads: the names of the headers, in lower case.
    """
    found: dict[bytes, bytes] = {}
    for line in lines[:-4].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in reads:
            value = value.strip(b" \t")
            if name not in found:
                found[name] = value
            elif name in _JOINED:
                found[name] = b"%b,%b" % (found[name], value)
            elif name in _LENGTHS:
                return None
            elif name not in _FIRST:
                found[_DUPLICATE] = name
    return found
