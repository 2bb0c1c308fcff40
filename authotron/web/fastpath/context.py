"""The sender and the facts of a fast-path request, read from the raw head when they are needed."""

from __future__ import annotations

from functools import partial

from authotron.gateway.contracts import Asked
from authotron.gateway.gateway import LiveGateway
from authotron.model.request import Facts
from authotron.plugin.contract import Question
from authotron.web.fastpath.request import has_twin, values
from authotron.web.framing import in_ascii
from authotron.web.replies import Reply


class HeadContext:
    """
    Reads the sender and the facts of a request from its raw head when they are needed.

    A connection uses one context for all its requests, to save creating an object for each request.

    @ivar head: the raw bytes of the request line and headers of the current request.
    @ivar asked: the contract by which the current request came in.
    """

    __slots__ = ("_live", "_peer", "asked", "head")

    def __init__(self, live: LiveGateway[Reply], peer: str | None) -> None:
        """
        Create the context for the requests of a connection.

        @param peer: the address at the other end of the connection, or C{None} for a UNIX socket.
        """
        self._live = live
        self._peer = peer
        self.head = b""
        self.asked: Asked | None = None

    def question(self) -> Question:
        """Return what the contract may read of the current request."""
        return question(self._live, self._peer, self.head, self.asked)

    def facts(self) -> Facts:
        """Return the facts of the current request."""
        assert self.asked is not None
        return self.asked.endpoint.facts(self.question())

    @property
    def sender(self) -> str:
        """The address of the client, or of the peer if a trusted proxy does not state it."""
        assert self.asked is not None
        return self.asked.endpoint.client(self.question()) or self._peer or "unix"

    @property
    def authorization(self) -> bytes | None:
        """The first C{Authorization} header."""
        found = values(self.head, "Authorization")
        return found[0].encode("latin-1") if found else None


def question(
    live: LiveGateway[Reply], peer: str | None, head: bytes, asked: Asked | None
) -> Question:
    """Return what a contract may read of the head of a simple request."""
    method, target, _ = head.partition(b"\r\n")[0].split(b" ")
    contracts = live.gateway.contracts
    behind = b""
    if asked is not None and asked.endpoint.appends:
        behind = in_ascii(target)[len(asked.endpoint.path) :]
    return Question(
        method.decode("latin-1"),
        behind,
        partial(values, head),
        peer,
        contracts.proxies,
        partial(has_twin, head),
    )
