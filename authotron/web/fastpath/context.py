"""Reads the facts of a request from its raw head, when a condition asks for them."""

from __future__ import annotations

from functools import partial

from authotron.gateway.gateway import LiveGateway
from authotron.web.fastpath.request import values
from authotron.web.replies import Reply


class HeadContext:
    """
    A L{RequestContext} that reads the raw bytes of a simple head once a condition asks for a fact.

    A connection uses one context for all its requests, which saves making an object for each.

    @ivar head: the raw bytes of the head of the current request.
    """

    __slots__ = ("_live", "_peer", "head")

    def __init__(self, live: LiveGateway[Reply], peer: str | None) -> None:
        """
        Create the context of a connection.

        @param peer: the address of the peer of the connection; C{None} for a UNIX socket.
        """
        self._live = live
        self._peer = peer
        self.head = b""

    @property
    def host(self) -> str | None:
        return self._live.gateway.forwarding.host(self._peer, partial(values, self.head))

    @property
    def address(self) -> str | None:
        return self._live.gateway.forwarding.client(self._peer, partial(values, self.head))
