"""Reads the requested host and the address of the client from the headers of trusted proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from attrs import field, frozen

from authotron.config.server import Forwarded
from authotron.gateway import hops
from authotron.gateway.hops import Hop
from authotron.model.errors import Flaw, UnusableFact
from authotron.model.hosts import address_of, any_network_fits, split_host
from authotron.model.request import Facts

_MOST_PEERS = 1_000
"""Maximum number of peers for which it is cached whether they are trusted proxies."""

_FORWARDED, _LIST = "forwarded", "x-forwarded-for"
"""The names, in lower case, of headers whose lines form one list of values."""

Fields = Callable[[str], Sequence[str]]
"""A function that returns all values of the header with a given name."""


@frozen
class Forwarding:
    """
    Reads the headers in which proxies state the requested host and the client's address.

    A forwarding header is used only if the peer that sent the request is a trusted proxy. The lines
    of C{X-Forwarded-For} are one list, and so are those of C{Forwarded}; any other header that
    occurs more than once is treated as missing. Of several addresses the rightmost one that is not
    a trusted proxy is the client's.
    """

    _trusted: Sequence[str]
    _headers: Forwarded
    _trusts_unix: bool = True
    _peers: dict[str | None, tuple[str | None, bool]] = field(
        factory=dict, init=False, eq=False, repr=False
    )

    def is_proxy(self, peer: str | None) -> bool:
        """Whether a peer is a trusted proxy, where C{None} stands for a peer at a UNIX socket."""
        return (self._peers.get(peer) or self._judge_peer(peer))[1]

    def facts(self, peer: str | None, header: Fields) -> Facts:
        """
        Return the facts of a request on which conditions depend: the requested host and the address
        of the client.

        @param peer: the address of the peer of the connection, or C{None} for a UNIX socket.
        """
        return Facts(partial(self._read, peer, header))

    def _read(self, peer: str | None, header: Fields, fact: str) -> object:
        """
        Read one fact of a request.

        @raise UnusableFact: no trusted proxy states the fact clearly.
        """
        if fact in ("host", "port"):
            return self._host(peer, header)[fact == "port"]
        if fact == "address":
            address = self.client(peer, header)
            if address is None:
                raise UnusableFact(fact, Flaw.MISSING)
            return address
        raise UnusableFact(fact, Flaw.MISSING)

    def _host(self, peer: str | None, header: Fields) -> tuple[str, int | None]:
        """
        Return the requested host and its port.

        @raise UnusableFact: no trusted proxy states the host clearly.
        """
        if not self.is_proxy(peer):
            raise UnusableFact("host", Flaw.UNTRUSTED)
        values = header(self._headers.host)
        if self._headers.host.lower() == _FORWARDED:
            hop = self._client_hop(hops.forwarded(values))
            values = [hop.host] if hop is not None and hop.host is not None else []
        if not values:
            raise UnusableFact("host", Flaw.MISSING)
        if len(values) > 1:
            raise UnusableFact("host", Flaw.DUPLICATE)
        try:
            return split_host(values[0])
        except ValueError:
            raise UnusableFact("host", Flaw.MALFORMED) from None

    def client(self, peer: str | None, header: Fields) -> str | None:
        """Return the address of the client, or C{None} if a trusted proxy does not state it."""
        address, is_proxy = self._peers.get(peer) or self._judge_peer(peer)
        if not is_proxy:
            return address
        hop = self._client_hop(self._hops(header(self._headers.address)))
        return None if hop is None else hop.address

    def _hops(self, values: Sequence[str]) -> Iterator[Hop]:
        """Yield the hops in the configured header, from the nearest proxy to the farthest."""
        name = self._headers.address.lower()
        if name == _FORWARDED:
            return hops.forwarded(values)
        return hops.listed(values if name == _LIST or len(values) == 1 else ())

    def _client_hop(self, found: Iterator[Hop]) -> Hop | None:
        """
        Return the nearest hop that is not a trusted proxy, or the farthest hop if all hops are
        trusted proxies.
        """
        last = None
        for last in found:
            if last.address is None or not self._trusts(last.address):
                return last
        return last

    def _judge_peer(self, peer: str | None) -> tuple[str | None, bool]:
        """Return the address of a peer in its usual spelling, and whether it is a trusted proxy."""
        if len(self._peers) >= _MOST_PEERS:
            self._peers.clear()
        address = None if peer is None else address_of(peer)
        is_proxy = self._trusts_unix if peer is None else bool(address and self._trusts(address))
        self._peers[peer] = known = address, is_proxy
        return known

    def _trusts(self, address: str) -> bool:
        return any_network_fits(self._trusted, address)
