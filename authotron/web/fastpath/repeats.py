"""
Recognise request heads that were parsed before, without parsing them again.

Proxies send almost the same head again and again for one client: only C{X-Request-ID} differs. To
hash a head without C{X-Request-ID}, and to look up two values, takes a third of the time of parsing
the head.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from os import urandom
from typing import TYPE_CHECKING

from attrs import define

from authotron.model.request import Presented
from authotron.web.fastpath.request import Head, Shape, stated_facts
from authotron.web.fastpath.sampling import is_chosen

if TYPE_CHECKING:  # imported only if policies are configured
    from authotron.gateway.policy import PolicyAccess

_LONGEST = 4_000
"""Maximum number of bytes of a remembered head without its request id."""

_MOST_LINES = 10
"""
Maximum number of lines of a remembered head. A request head with more lines than this usually
contains the URI of the client, and so is not sent twice.
"""

_MOST = 5_000
"""
Maximum number of remembered heads, each of which takes about 350 bytes, or 700 if it states facts.
When the maximum is reached, all heads are forgotten; heads in use soon return.
"""

ONE_IN = 8
"""
One in this many parsed heads is remembered, so that rare heads cost little time; a head that is
sent often is soon remembered.
"""

_MOST_MISSES = 64
"""
Maximum number of heads in a row that are parsed although each was looked up first. If this many
consecutive request heads were looked up in vain, only one head in C{ONE_IN} is looked up, until a
lookup succeeds: heads that never repeat, or whose decisions are not cached, would pay for lookups
in vain.
"""

_REQUEST_ID = b"\r\nX-Request-ID: "
_VALUE = re.compile(rb"[\t -~\x80-\xff]*+").fullmatch


def without_request_id(head: bytes) -> tuple[bytes, bytes | None]:
    """
    Return a request head without its line C{X-Request-ID}, and the value of this line.

    If the header's spelling is unusual, or its value has a byte not allowed in headers, the head is
    returned unchanged, with C{None}. If C{X-Request-ID} comes after the empty line that ends the
    head, the returned bytes still have bytes after that line, so they are not a simple request.
    """
    before, found, after = head.partition(_REQUEST_ID)
    if not found:
        return head, None
    value, _, after = after.partition(b"\r\n")
    # If no line follows the header X-Request-ID, the head is incomplete.
    if not after or not _VALUE(value):
        return head, None
    return b"%b\r\n%b" % (before, after), value.strip(b" \t")


Reference = Callable[[], "PolicyAccess | None"]
"""
A weak reference to an access object. Access objects may be large, and only the cache of decisions,
which has a budget in bytes, keeps them.
"""


def no_access() -> None:
    """Return C{None}, because there is no access object."""


@define(eq=False)
class Repeated:
    """
    The shape of a remembered request head, and the key of the decision about its client.

    @ivar key: the L{DecisionCache} key for the client's credential.
    @ivar digest: the keyed hash of the head without its request id.
    @ivar known: the facts of a request that the head states, if a trusted proxy sends the head.
    @ivar settled: a weak reference to the access object of the client, if the policies always allow
        this request.
    @ivar tried: a weak reference to the access object of the client for which C{settled} was
        determined last.
    """

    shape: Shape
    key: bytes
    digest: bytes
    known: Mapping[str, object]
    settled: Reference = no_access
    tried: Reference = no_access

    def is_allowed(self, access: PolicyAccess | None) -> bool:
        """
        Return whether the policies always allow this request to a client; if so, count the request
        as allowed.
        """
        if access is None or self.settled() is not access:
            return False
        access.enforcement.count_allowed()
        return True


class Repeats:
    """
    Remembers parsed heads of simple requests, and the keys of their decisions.

    Equal heads always have equal shapes and keys, so a remembered head never becomes wrong; the
    decision about the head is looked up for each request. The heads are remembered as keyed hashes,
    so that no credential is kept.

    @ivar misses: the number of consecutive request heads that were not recognised and had to be
        parsed.
    """

    def __init__(self, longest: int) -> None:
        """@param longest: maximum number of bytes of a request head on the fast path."""
        self._longest = min(longest, _LONGEST)
        # Hashing a secret first makes BLAKE2 a keyed hash. The argument C{key} of BLAKE2 would have
        # the same effect, but would pad the secret to a block of 128 bytes, which costs time for
        # each request head.
        self._hash = blake2b(urandom(32), digest_size=16)
        # The keys are Python's fast hashes; the digest tells apart heads with equal hashes.
        self._known: dict[int, Repeated] = {}
        self.misses = 0

    def find(self, head: bytes) -> tuple[Repeated, bytes | None] | None:
        """
        Return the shape and the key of a remembered request head, and its request id; it returns
        C{None} for any other head.

        If many heads in a row were parsed, most heads are not looked up at all.
        """
        if self.misses > _MOST_MISSES and not is_chosen(ONE_IN):
            return None
        rest, request_id = without_request_id(head)
        if len(rest) > self._longest:
            return None
        known = self._known.get(hash(rest))
        if known is None:
            return None
        hashed = self._hash.copy()
        hashed.update(rest)
        return (known, request_id) if known.digest == hashed.digest() else None

    def succeeded(self) -> None:
        """Note that a lookup saved parsing a head, so that all heads are looked up again."""
        self.misses = 0

    def remember(self, received: bytes, head: Head, key: Callable[[Presented], bytes]) -> None:
        """
        Remember a simple request head that was parsed, if the head is selected: only one in
        C{ONE_IN} heads is remembered.

        A head is not remembered if it announces a body, or if L{without_request_id} could not
        remove its request id.

        @param received: the bytes of the head.
        @param head: the result of parsing these bytes.
        @param key: a function that returns the decision's key for a client's credential.
        """
        self.misses += 1
        if head.shape.has_body or not is_chosen(ONE_IN):
            return
        rest, request_id = without_request_id(received)
        if head.request_id != request_id:
            return
        if len(rest) > self._longest or rest.count(b"\n") > _MOST_LINES:
            return
        if b"x-request-id:" in rest.lower():
            # If a head has several request ids, the first one counts, and a later one was removed.
            return
        if head.shape.asked.endpoint.carries_target or not head.is_stated:
            # Heads of this kind differ in each request, or their facts are judged each time.
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        known = stated_facts(head.shape, head.fields)
        found = Repeated(head.shape, key(head.presented), self._digest(rest), known)
        self._known[hash(rest)] = found

    def _digest(self, rest: bytes) -> bytes:
        hashed = self._hash.copy()
        hashed.update(rest)
        return hashed.digest()
