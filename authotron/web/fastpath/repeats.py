"""
Recognise request heads that were parsed before, without parsing them again.

Proxies send the same head again and again for one client: nothing differs but the value of
C{X-Request-ID}. A hash of the other lines and two lookups take a third of the time of parsing.
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
Maximum number of lines of a remembered head. A longer head usually contains the URI of the client,
so it differs in each request, and a lookup would be in vain.
"""

_MOST = 10_000
"""
Maximum number of remembered heads, each of which takes about 350 bytes. When the memory is full it
is emptied, because the heads in use are soon remembered again.
"""

_REMEMBERED_OF = 8
"""
One of so many parsed heads is remembered, so that heads that do not come again cost little time. A
head that comes often is soon the one.
"""

_REQUEST_ID = b"\r\nX-Request-ID: "
_VALUE = re.compile(rb"[\t -~\x80-\xff]*+").fullmatch


def without_request_id(head: bytes) -> tuple[bytes, bytes | None]:
    """
    Return a request head without its line C{X-Request-ID}, and the value of this line.

    If the line is spelled in another way, or contains a byte that a header may not contain, the
    head is returned as it is, and no value. If the line follows the empty line that ends the head,
    the bytes that are returned are not the head of any simple request: something follows the empty
    line.
    """
    before, found, after = head.partition(_REQUEST_ID)
    if not found:
        return head, None
    value, _, after = after.partition(b"\r\n")
    if not after or not _VALUE(value):  # Without a further line the head is incomplete.
        return head, None
    return b"%b\r\n%b" % (before, after), value.strip(b" \t")


class Repeated(NamedTuple):
    """
    What is remembered of a request head.

    @ivar key: the key of the L{DecisionCache} for what the client presented.
    @ivar digest: the keyed hash of the head without its request id.
    """

    shape: Shape
    key: bytes
    digest: bytes


class Repeats:
    """
    Remembers the shapes of simple request heads, and the keys of the decisions about them.

    A head always has the same meaning, so what is remembered never becomes wrong; the decision
    itself is looked up for each request. The heads are remembered as keyed hashes, so that no
    credential is kept.
    """

    def __init__(self, longest: int) -> None:
        """@param longest: maximum number of bytes of a request head on the fast path."""
        self._longest = min(longest, _LONGEST)
        self._hash = blake2b(key=urandom(32), digest_size=16)
        # Python's own hash is found fast, but two heads may share one: the digest tells them apart.
        self._known: dict[int, Repeated] = {}
        self._parsed = 0

    def find(self, rest: bytes) -> Repeated | None:
        """
        Return what is remembered of a request head, or C{None}.

        @param rest: the head L{without_request_id}.
        """
        if len(rest) > self._longest or rest.count(b"\n") > _MOST_LINES:
            return None
        known = self._known.get(hash(rest))
        return known if known is not None and known.digest == self._digest(rest) else None

    def remember(
        self, rest: bytes, request_id: bytes | None, head: Head, key: Callable[[Presented], bytes]
    ) -> None:
        """
        Remember one of several simple heads.

        A head with a request body is not remembered, nor is a head whose request id stands in a
        line that L{without_request_id} did not remove.

        @param rest: the head L{without_request_id}.
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
