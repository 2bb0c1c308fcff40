"""
Recognise request heads that were parsed before, without parsing them again.

Proxies send the same head again and again for one client: nothing differs but the value of
C{X-Request-ID}. To hash a head without C{X-Request-ID}, and to look up two values, takes a third of
the time of parsing.
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
Maximum number of lines of a remembered head. A head with more lines usually contains the URI that
the client requests, and so differs from every earlier head.
"""

_MOST = 10_000
"""
Maximum number of remembered heads, each of which takes about 350 bytes. At the maximum all heads
are forgotten, since heads in use are soon remembered again.
"""

_REMEMBERED_OF = 8
"""
Only one of this number of parsed heads is remembered, so that heads that are sent only once cost
little time; a head that is sent often is soon remembered.
"""

_REQUEST_ID = b"\r\nX-Request-ID: "
_VALUE = re.compile(rb"[\t -~\x80-\xff]*+").fullmatch


def without_request_id(head: bytes) -> tuple[bytes, bytes | None]:
    """
    Return a request head without its line C{X-Request-ID}, and the value of this line.

    If the name of the header is spelled in another way, or the value contains a byte that a header
    may not contain, the head is returned unchanged, with C{None}. If C{X-Request-ID} stands after
    the empty line that ends the head, the returned bytes are not a simple request either, because
    bytes still follow the empty line.
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

    @ivar key: the key of the L{DecisionCache} for what the client presented.
    @ivar digest: the keyed hash of the head without its request id.
    """

    shape: Shape
    key: bytes
    digest: bytes


class Repeats:
    """
    Remembers the shapes of simple request heads, and the keys of the decisions about them.

    Equal heads always have equal shapes and keys, so the memory never becomes wrong; the decision
    itself is looked up for each request. The heads are remembered as keyed hashes, so that no
    credential is kept.
    """

    def __init__(self, longest: int) -> None:
        """@param longest: maximum number of bytes of a request head on the fast path."""
        self._longest = min(longest, _LONGEST)
        self._hash = blake2b(key=urandom(32), digest_size=16)
        # The keys are Python's hashes, which are fast; the digest distinguishes heads of one hash.
        self._known: dict[int, Repeated] = {}
        self._parsed = 0

    def find(self, rest: bytes) -> Repeated | None:
        """
        Return the shape and the key of a remembered request head, or C{None} for any other head.

        @param rest: the request head as L{without_request_id} returns it.
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

        A head with a request body is not remembered, nor is a head whose request id stands in a
        line that L{without_request_id} did not remove.

        @param rest: the request head as L{without_request_id} returns it.
        @param request_id: the request id that was removed from the head.
        @param key: a function that returns the key of the decision about what a client presented.
        """
        self._parsed += 1
        if self._parsed % _REMEMBERED_OF:
            return
        if len(rest) > self._longest or rest.count(b"\n") > _MOST_LINES:
            return
        if head.request_id != request_id or head.shape.has_body:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[hash(rest)] = Repeated(head.shape, key(head.presented), self._digest(rest))

    def _digest(self, rest: bytes) -> bytes:
        hashed = self._hash.copy()
        hashed.update(rest)
        return hashed.digest()
