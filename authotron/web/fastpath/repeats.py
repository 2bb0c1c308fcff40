"""
Recognise request heads that were parsed before, without parsing them again.

Proxies send almost the same head again and again for one client: only C{X-Request-ID} differs. To
hash a head without C{X-Request-ID}, and to look up two values, takes a third of the time of parsing
the head.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from os import urandom
from typing import NamedTuple

from authotron.model.request import Presented
from authotron.web.fastpath.request import Head, Shape

_LONGEST = 4_000
"""Maximum number of bytes of a remembered head without its request id."""

_MOST_LINES = 10
"""
Maximum number of lines of a remembered head. A request head with more lines than this usually
contains the URI of the client, and so is not sent twice.
"""

_MOST = 10_000
"""
Maximum number of remembered heads, each of which takes about 350 bytes. When the maximum is
reached, all heads are forgotten; heads in use soon return.
"""

_REMEMBERED_OF = 8
"""
One in this many parsed heads is remembered, so that rare heads cost little time; a head that is
sent often is soon remembered.
"""

_REQUEST_ID = b"\r\nX-Request-ID: "
_VALUE = re.compile(rb"[\t -~\x80-\xff]*+").fullmatch


def without_request_id(head: bytes) -> tuple[bytes, bytes | None]:
    """
    Return a request head without its line C{X-Request-ID}, and the value of this line.

    If the header's spelling is unusual, or its value has a byte not allowed in headers, the head is
    returned unchanged, with C{None}. If C{X-Request-ID} stands after the empty line that ends the
    head, the returned bytes still have bytes after that line, so are no simple request.
    """
    before, found, after = head.partition(_REQUEST_ID)
    if not found:
        return head, None
    value, _, after = after.partition(b"\r\n")
    if not after or not _VALUE(value):  # If no line follows X-Request-ID, the head is incomplete.
        return head, None
    return b"%b\r\n%b" % (before, after), value.strip(b" \t")


class Repeated(NamedTuple):
    """
    The shape of a remembered request head, and the key of the decision about its client.

    @ivar key: the L{DecisionCache} key for the client's credential.
    @ivar digest: the keyed hash of the head without its request id.
    """

    shape: Shape
    key: bytes
    digest: bytes


class Repeats:
    """
    Remembers parsed heads of simple requests, and the keys of their decisions.

    Equal heads always have equal shapes and keys, so a remembered head never becomes wrong; the
    decision about the head is looked up for each request. The heads are remembered as keyed hashes,
    so that no credential is kept.
    """

    def __init__(self, longest: int) -> None:
        """@param longest: maximum number of bytes of a request head on the fast path."""
        self._longest = min(longest, _LONGEST)
        self._hash = blake2b(key=urandom(32), digest_size=16)
        # The keys are Python's fast hashes; the digest tells apart heads with equal hashes.
        self._known: dict[int, Repeated] = {}
        self._parsed = 0

    def find(self, rest: bytes) -> Repeated | None:
        """
        Return the shape and the key of a remembered request head, or C{None} for any other head.

        @param rest: the head without its id, from L{without_request_id}.
        """
        if len(rest) > self._longest or rest.count(b"\n") > _MOST_LINES:
            return None
        known = self._known.get(hash(rest))
        return known if known is not None and known.digest == self._digest(rest) else None

    def remember(
        self, rest: bytes, request_id: bytes | None, head: Head, key: Callable[[Presented], bytes]
    ) -> None:
        """
        Remember a simple request head, if it is one of the few that L{_REMEMBERED_OF} selects.

        A head is not remembered if it announces a body, or if L{without_request_id} could not
        remove its request id.

        @param rest: the request head as L{without_request_id} returns it.
        @param request_id: the request id that was removed from the head.
        @param key: a function that returns the decision's key for a client's credential.
        """
        self._parsed += 1
        if self._parsed % _REMEMBERED_OF:
            return
        if len(rest) > self._longest or rest.count(b"\n") > _MOST_LINES:
            return
        if head.request_id != request_id or head.shape.has_body:
            return
        if b"x-request-id:" in rest.lower():
            return  # The first of several ids counts, and another one was removed.
        if head.shape.asked.endpoint.carries_target or head.shape.needs or not head.is_stated:
            return  # Such heads differ in each request, or their facts are judged each time.
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[hash(rest)] = Repeated(head.shape, key(head.presented), self._digest(rest))

    def _digest(self, rest: bytes) -> bytes:
        hashed = self._hash.copy()
        hashed.update(rest)
        return hashed.digest()
