"""
IP networks and client addresses in the form that policies use.

IPv4-mapped addresses are IPv4 addresses, in clients and in networks with a prefix of C{/96} or
longer; a network of one IP version contains no address of the other version. The bits of a network
behind its prefix length are ignored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

_NETWORK = re.compile(r"([0-9A-Fa-f.:]+)/([0-9]{1,3})")
_ADDRESS = re.compile(
    r"(?P<four>[0-9.]+)(?::[0-9]{1,5})?|\[(?P<six>[0-9A-Fa-f:.]+)\]:[0-9]{1,5}|(?P<bare>[0-9A-Fa-f:.]+)"
)
_LONGEST = 64
"""Maximum number of characters of an address or a network that is parsed."""

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


_BITS = {4: 32, 6: 128}
"""Number of bits of an address, by the IP version."""


def _address(version: int, number: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)  # noqa: PLR2004 - the IP version


class Network(NamedTuple):
    """An IP network: the IP version, and its first and its last address as numbers."""

    version: int
    first: int
    last: int

    def __str__(self) -> str:
        """Return the network with its prefix length, such as C{192.0.2.0/24}."""
        length = _BITS[self.version] - (self.last - self.first).bit_length()
        return f"{_address(self.version, self.first)}/{length}"

    def holds(self, address: Address) -> bool:
        """Return whether an address lies in this network."""
        return self.version == address.version and self.first <= address.number <= self.last

    def is_within(self, other: Network) -> bool:
        """Return whether all addresses of this network lie in another network."""
        return (
            self.version == other.version and other.first <= self.first and self.last <= other.last
        )


class Address(NamedTuple):
    """The address of a client: the IP version, and the address as a number."""

    version: int
    number: int


def parse(text: str) -> Network:
    """
    Parse a network with a prefix length, such as C{192.0.2.0/24} or C{2001:db8::/32}.

    @raise ValueError: the string is not a network.
    """
    found = _NETWORK.fullmatch(text) if len(text) <= _LONGEST else None
    try:
        network = ipaddress.ip_network(text, strict=False) if found else None
    except ValueError:
        network = None
    if network is None:
        raise ValueError(_better(text))
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        length = network.prefixlen - _MAPPED.prefixlen
        first = int(network.network_address) & 0xFFFF_FFFF
        network = ipaddress.IPv4Network((first, length))
    return Network(network.version, int(network.network_address), int(network.broadcast_address))


def _better(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "the value is not a network; networks look like 192.0.2.0/24 or 2001:db8::/32"
    return f"the value is an address, not a network; write {address}/{address.max_prefixlen}"


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> Address | None:
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    try:
        address = ipaddress.ip_address(found["four"] or found["six"] or found["bare"])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    elif found["six"]:
        return None
    return Address(address.version, int(address))


def parse_address(text: str | None) -> Address | None:
    """
    Parse the address of a client, and return C{None} for a missing or unreadable address; a port
    may follow an IPv4 address, or an IPv6 address in brackets.
    """
    return _parse_address(text) if text and len(text) <= _LONGEST else None


def any_holds(networks: Iterable[Network], text: str | None) -> bool:
    """Return whether an address is readable and lies in one of several networks."""
    address = parse_address(text)
    return address is not None and any(each.holds(address) for each in networks)
