"""Limits the memory that incomplete request heads may use."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

DEFAULT_BYTES = 16 * 2**20
"""Maximum number of bytes that all unfinished request heads of a process may take up by default."""

_SHARE = 4
"""Divisor of the memory budget: the connections of one peer may take a quarter of the bytes."""


def _no_proxy(_peer: str | None) -> bool:
    """Return false: no peer is a trusted proxy."""
    return False


@define(eq=False)
class UnfinishedHeads:
    """
    Counts the bytes of unfinished request heads, of all connections and of each peer.

    The head of a request may be large, and a client can open thousands of connections without ever
    finishing a head. The connections of one peer may take up a quarter of the memory budget. The
    connections of trusted proxies, which send the requests of many clients, may take up the whole
    budget.

    @ivar most: the maximum number of bytes that all unfinished request heads may take up together.
    @ivar size: the number of bytes that all unfinished request heads take up now.
    """

    most: int = DEFAULT_BYTES
    _is_proxy: Callable[[str | None], bool] = _no_proxy
    size: int = field(default=0, init=False)
    _sizes: dict[str | None, int] = field(factory=dict, init=False)

    def resize(self, peer: str | None, before: int, after: int) -> bool:
        """
        Change the number of bytes that one unfinished request head takes.

        @param peer: the address of the peer, or C{None} for a UNIX socket.
        @param before: the number of bytes that were counted for this request head so far; 0 for a
            new head.
        @param after: the new number of bytes of the request head; 0 if the head has ended, or its
            connection is closed.

        @return: whether the budget has room for the bytes; if not, nothing has changed.
        """
        size = self._sizes.get(peer, 0) + after - before
        if after > before and not self._has_room(peer, size, after - before):
            return False
        self.size += after - before
        if size > 0:
            self._sizes[peer] = size
        else:
            self._sizes.pop(peer, None)
        return True

    def _has_room(self, peer: str | None, size: int, added: int) -> bool:
        share = self.most if self._is_proxy(peer) else self.most // _SHARE
        return size <= share and self.size + added <= self.most
