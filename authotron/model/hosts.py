"""Hosts and networks: patterns a token may be limited to, and what is this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

MOST_TEXT = 4096
"""Characters that all patterns of one list may have together."""

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_HIGHEST_PORT = 65535
_SITE_BITS = 64
"""Leading bits that all IPv6 addresses of one client share (RFC 6177: a site has a /64 or more)."""


def checked_host(text: str) -> str:
    """
    A pattern in its usual spelling.

    C{*} is any host; C{*.example.org} has exactly one label more; a port, where there is one, must
    be in the request, too, and only the plain C{*} fits with any.

    @raise ValueError: it is no pattern.
    """
    name, port = _split(text.lower())
    if not (name == "*" or _is_address(name) or _NAME.fullmatch(name)):
        raise ValueError("is no host, such as example.org, *.example.org:8443, [::1]:80 or *")
    if port is not None and not (port.isascii() and port.isdigit() and _is_port(int(port))):
        raise ValueError("has a port that is none")
    return name if port is None else f"{name}:{int(port)}"


def checked_network(text: str) -> str:
    """
    A network in its usual spelling; an address is one of a single host.

    @raise ValueError: it is no network, or has bits set behind its mask.
    """
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError("is no network, such as 192.0.2.0/24 or 2001:db8::/32") from None


UNIX = "unix"
"""Among trusted proxies: peers at a UNIX socket."""

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
"""The addresses that are routed on the Internet (RFC 4291 section 2.4, IANA's registry)."""


def checked_proxy(text: str) -> str:
    """
    A network of trusted proxies in its usual spelling, or the word C{unix}.

    @raise ValueError: it is neither.
    """
    if text == UNIX:
        return text
    network = ipaddress.ip_network(checked_network(text))
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        # Peers are known by what an address stands for, so a network must be, too.
        first = int(network.network_address) & 0xFFFF_FFFF
        return str(ipaddress.IPv4Network((first, network.prefixlen - 96)))
    return str(network)


def share_of_addresses(networks: Iterable[str]) -> float:
    """Compute which share of all IPv4, or of all global IPv6, addresses lies in C{networks}."""
    parsed = [ipaddress.ip_network(text) for text in networks if text != UNIX]
    four = [each for each in parsed if isinstance(each, ipaddress.IPv4Network)]
    six = [each for each in parsed if isinstance(each, ipaddress.IPv6Network)]
    known_four = sum(each.num_addresses for each in ipaddress.collapse_addresses(four))
    known_six = 0
    for each in ipaddress.collapse_addresses(six):
        if each.supernet_of(_GLOBAL_IPV6):
            known_six += _GLOBAL_IPV6.num_addresses
        elif each.subnet_of(_GLOBAL_IPV6):
            known_six += each.num_addresses
    return max(known_four / 2**32, known_six / _GLOBAL_IPV6.num_addresses)


def host_fits(pattern: str, host: str) -> bool:
    """Whether a host, as requests name it, or another pattern, is one of those meant."""
    if pattern == "*":
        return True
    wanted, wanted_port = _split(pattern)
    name, port = _split(host.lower())
    name = name.removesuffix(".")
    if wanted_port != port:
        return False
    if wanted.startswith("*."):
        first, dot, rest = name.partition(".")
        return bool(first and dot) and rest == wanted[2:] and not _is_address(name)
    return wanted in ("*", name)


def network_fits(pattern: str, address: str) -> bool:
    """Whether an address, or another network, lies within a network."""
    within, meant = _network(pattern), _network(address)
    if within is None or meant is None:
        return False
    return within[0] == meant[0] and within[1] <= meant[1] and meant[2] <= within[2]


def any_network_fits(patterns: Iterable[str], address: str) -> bool:
    """Whether an address lies within one of several networks."""
    return any(network_fits(pattern, address) for pattern in patterns)


def address_of(text: str) -> str | None:
    """An address in its usual spelling, IPv4 in the guise of IPv6 as what it is."""
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def site(address: str) -> str:
    """The addresses that one client may have."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address}/{_SITE_BITS}", strict=False))
    except ValueError:
        return address


def is_local(url: str) -> bool:
    """Whether what is sent to this address cannot leave the machine."""
    return is_loopback(urlsplit(url).hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host, an address or a name, is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(maxsize=4096)
def _network(text: str) -> tuple[int, int, int] | None:
    """The version, the first and the last address of a network, as numbers."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return None
    return network.version, int(network.network_address), int(network.broadcast_address)


def _split(text: str) -> tuple[str, str | None]:
    """Name and port; the colons of an IPv6 address stand in brackets."""
    if text.startswith("["):
        name, bracket, rest = text.partition("]")
        return name + bracket, rest[1:] if rest.startswith(":") else None
    name, colon, port = text.partition(":")
    return name, port if colon else None


def _is_address(name: str) -> bool:
    bracketed = name.startswith("[") and name.endswith("]")
    try:
        version = ipaddress.ip_address(name[1:-1] if bracketed else name).version
    except ValueError:
        return False
    return bracketed == (version == 6)  # noqa: PLR2004 - brackets are for IPv6


def _is_port(number: int) -> bool:
    return 1 <= number <= _HIGHEST_PORT
