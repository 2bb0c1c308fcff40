"""Which peers are trusted proxies, and which of the addresses that they forward is the client's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from authotron.model.hops import Hop
from authotron.model.hosts import UNIX, address_of, any_network_fits

_MOST_PEERS = 1_000
"""Maximum number of peers for which it is cached whether they are trusted proxies."""


@frozen
class TrustedProxies:
    """
    The proxies whose statements about clients' requests are believed:
    C{server.trusted_proxies}.
    """

    _networks: Sequence[str]
    _trusts_unix: bool = True
    _peers: dict[str | None, tuple[str | None, bool]] = field(
        factory=dict, init=False, eq=False, repr=False
    )

    def is_proxy(self, peer: str | None) -> bool:
        """Whether a peer is a trusted proxy, where C{None} stands for a peer at a UNIX socket."""
        return (self._peers.get(peer) or self._judge_peer(peer))[1]

    def address(self, peer: str | None) -> str | None:
        """Return the address of a peer in canonical form, or C{None} for a UNIX socket."""
        return (self._peers.get(peer) or self._judge_peer(peer))[0]

    def client_hop(self, found: Iterable[Hop]) -> Hop | None:
        """
        Return the nearest hop that is not a trusted proxy, or the farthest hop if all hops are
        trusted proxies.

        @param found: the hops (client or proxies) that a proxy forwards, the nearest first.
        """
        last = None
        for last in found:
            if last.address is None or not self._trusts(last.address):
                return last
        return last

    def _judge_peer(self, peer: str | None) -> tuple[str | None, bool]:
        """
        Return the address of a peer in its usual spelling, and whether the peer is a
        trusted proxy.
        """
        if len(self._peers) >= _MOST_PEERS:
            self._peers.clear()
        address = None if peer is None else address_of(peer)
        is_proxy = self._trusts_unix if peer is None else bool(address and self._trusts(address))
        self._peers[peer] = known = address, is_proxy
        return known

    def _trusts(self, address: str) -> bool:
        return any_network_fits(self._networks, address)


def make(configured: Sequence[str]) -> TrustedProxies:
    """Build the trusted proxies from networks and perhaps the word C{unix}."""
    return TrustedProxies([each for each in configured if each != UNIX], UNIX in configured)
