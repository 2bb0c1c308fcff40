"""The facts and the sender of a fast-path request, read from the raw head when they are needed."""

from __future__ import annotations

from functools import partial

from authotron.gateway.gateway import LiveGateway
from authotron.model.request import Facts
from authotron.web.fastpath.request import values
from authotron.web.replies import Reply


class HeadContext:
    """
    Reads facts and sender of a request from its raw head when a condition or the log needs them.

    A connection uses one context for all its requests, to save creating an object for each request.

    @ivar head: the raw bytes of the request line and headers of the current request.
    """

    __slots__ = ("_live", "_peer", "head")

    def __init__(self, live: LiveGateway[Reply], peer: str | None) -> None:
        """
        Create the context for the requests of a connection.

        @param peer: the address at the other end of the connection, or C{None} for a UNIX socket.
        """
        self._live = live
        self._peer = peer
        self.head = b""

    def facts(self) -> Facts:
        """Return the facts of the current request, which are read from its head when needed."""
        return self._live.gateway.forwarding.facts(self._peer, partial(values, self.head))

    @property
    def sender(self) -> str:
        """The address of the client, or of the peer if a trusted proxy does not state it."""
        forwarding = self._live.gateway.forwarding
        address = forwarding.client(self._peer, partial(values, self.head))
        return address or str(self._peer or "unix")

    @property
    def authorization(self) -> bytes | None:
        """The first C{Authorization} header."""
        found = values(self.head, "Authorization")
        return found[0].encode("latin-1") if found else None
