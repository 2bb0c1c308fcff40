"""The properties of a fast-path request, each read from the raw head when a condition needs it."""

from __future__ import annotations

from functools import partial

from authotron.gateway.gateway import LiveGateway
from authotron.web.fastpath.request import values
from authotron.web.replies import Reply


class HeadContext:
    """
    A L{RequestContext} that reads a property from the raw request head when a condition needs it.

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

    @property
    def host(self) -> str | None:
        return self._live.gateway.forwarding.host(self._peer, partial(values, self.head))

    @property
    def sender(self) -> str:
        """The address of the client, or of the peer if a trusted proxy does not state it."""
        return self.address or str(self._peer or "unix")

    @property
    def authorization(self) -> bytes | None:
        """The first C{Authorization} header."""
        found = values(self.head, "Authorization")
        return found[0].encode("latin-1") if found else None

    @property
    def address(self) -> str | None:
        return self._live.gateway.forwarding.client(self._peer, partial(values, self.head))
