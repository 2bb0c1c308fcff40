"""What a request says of its client: believed only of proxies that are trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from authotron.config.server import Forwarded
from authotron.model.hosts import FORWARDED_HOST, address_of, any_network_fits
from authotron.model.request import RequestContext

_MOST_HOPS = 64
"""Addresses that are read of a header; each takes about 10 us of processor time."""


@frozen
class Forwarding:
    """
    Reads the circumstances of a request.

    A header counts only from a trusted peer and only if it stands there once. Of the addresses
    the rightmost that is no trusted proxy is the client's.
    """

    _trusted: Sequence[str]
    _headers: Forwarded
    _trusts_unix: bool = True

    def request_context(
        self, peer: str | None, header: Callable[[str], Sequence[str]]
    ) -> RequestContext:
        """
        What is known of a request.

        @param peer: the address of who is connected; C{None} for a UNIX socket.
        @param header: gives the values of a header.
        """
        address = peer and address_of(peer)
        if not self._is_proxy(peer, address):
            return RequestContext(None, address)
        host = _only(header(self._headers.host))
        hops = header(self._headers.address)
        return RequestContext(_host(host), self._client(_only(hops)))

    def client(self, peer: str | None, header: Callable[[str], Sequence[str]]) -> str | None:
        """The address of the client, as in the circumstances of its request."""
        address = peer and address_of(peer)
        if not self._is_proxy(peer, address):
            return address
        return self._client(_only(header(self._headers.address)))

    def _is_proxy(self, peer: str | None, address: str | None) -> bool:
        """Whether the peer may name the client; C{None} is one on a UNIX socket."""
        return self._trusts_unix if peer is None else bool(address and self._trusts(address))

    def _client(self, hops: str | None) -> str | None:
        last = None
        for last in self._addresses(hops or ""):
            if last is None or not self._trusts(last):
                return last
        return last

    @staticmethod
    def _addresses(hops: str) -> Iterator[str | None]:
        """From the nearest to the farthest; C{None} is none that can be read, or one too many."""
        for hop in reversed(hops.rsplit(",", _MOST_HOPS - 1)):
            yield address_of(hop.strip(" \t"))

    def _trusts(self, address: str) -> bool:
        return any_network_fits(self._trusted, address)


def _only(values: Sequence[str]) -> str | None:
    """A header that stands there twice says nothing."""
    return values[0] if len(values) == 1 else None


def _host(text: str | None) -> str | None:
    return text if text is not None and FORWARDED_HOST.fullmatch(text) else None
