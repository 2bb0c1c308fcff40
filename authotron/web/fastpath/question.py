"""
The authentication request of a proxy on the fast path, whose parts are read from the raw head when
they are needed.
"""

from __future__ import annotations

from authotron.gateway.contracts import Asked
from authotron.plugin.trusted_proxies import TrustedProxies
from authotron.web.fastpath.request import has_twin, values
from authotron.web.framing import in_ascii


class HeadQuestion:
    """
    An L{AnyQuestion<authotron.plugin.contract.AnyQuestion>} that reads the parts of a proxy's
    request from a raw head.

    The access log reads the sender of a request from this object in the same way. Never log the
    object itself, because the head contains credentials.

    @ivar peer: the address at the other end of the connection, or C{None} for a UNIX socket.
    """

    __slots__ = ("_asked", "_head", "peer", "proxies")

    def __init__(
        self, head: bytes, asked: Asked, peer: str | None, proxies: TrustedProxies
    ) -> None:
        """
        @param head: the raw bytes of the request line and the headers.
        @param asked: the contract to which the proxy's request belongs.
        """
        self._head = head
        self._asked = asked
        self.peer = peer
        self.proxies = proxies

    @property
    def method(self) -> str:
        return self._head.partition(b" ")[0].decode("latin-1")

    @property
    def target(self) -> bytes:
        endpoint = self._asked.endpoint
        if not endpoint.appends:
            return b""
        target = self._head.split(b" ", 2)[1]
        return in_ascii(target)[len(endpoint.path) :]

    def values(self, name: str) -> list[str]:
        return values(self._head, name)

    def has_twin(self, name: str) -> bool:
        return has_twin(self._head, name)

    @property
    def sender(self) -> str:
        """The address of the client, or of the peer if a trusted proxy does not state it."""
        return self._asked.endpoint.client(self) or self.peer or "unix"

    @property
    def authorization(self) -> bytes | None:
        """The first C{Authorization} header of the request."""
        found = self.values("Authorization")
        return found[0].encode("latin-1") if found else None
