"""
The grammars of hosts and networks, and the host patterns to which API tokens may be limited.

The four grammars for host names in this module differ on purpose. L{HOST_FIELD} matches what a
client may send in the header C{Host}. L{FORWARDED_HOST} accepts more strings than L{HOST_FIELD},
because the proxy has checked the host already, and the gateway only compares the host with
patterns. L{check_host_pattern} is stricter than L{HOST_FIELD}, because people write patterns, and a
typo must be noticed. Unlike L{check_host_pattern}, L{check_bind_host} also accepts IPv6 addresses
without brackets and with a zone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from authotron.model.http_grammar import IPV6, NAME

MOST_TEXT = 4096
"""Maximum number of characters that all patterns of one list may have together."""

HOST_FIELD = re.compile(rb"(?:%b\.?|%b)(?::[0-9]{1,5})?" % (NAME, IPV6))
"""
A regular expression of the header C{Host} (RFC 9110 section 7.2); the host name
may end with a dot.
"""

FORWARDED_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""
A regular expression of the host that a trusted proxy forwards: a name, or an
address in brackets.
"""

_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_BIND_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_HIGHEST_PORT = 65535
_LONGEST_NAME = 253
"""Maximum number of characters in a host name of the DNS (RFC 1035 section 2.3.4)."""
_SITE_BITS = 64
"""
Number of leading bits that all IPv6 addresses of one client have in common (RFC 6177: a site has a
/64 or more).
"""


def check_host_pattern(text: str) -> str:
    """
    Check a host pattern, and return the pattern in lower case.

    C{*} matches every host, and C{*.example.org} every host with exactly one label before
    C{example.org}. A pattern with a port matches only hosts with this port; the pattern C{*}
    matches hosts with any port.

    @raise ValueError: the string is not a host pattern.
    """
    name, port = _split(text.lower())
    if not (name == "*" or _is_address(name) or _PATTERN.fullmatch(name)):
        raise ValueError(
            "the value is not a host pattern; valid ones are example.org, *.example.org:8443, "
            "[::1]:80 and *"
        )
    if port is not None and not (port.isascii() and port.isdigit() and _is_port(int(port))):
        raise ValueError(f"the port of the host is not a number from 1 to {_HIGHEST_PORT}")
    return name if port is None else f"{name}:{int(port)}"


def split_host(text: str) -> tuple[str, int | None]:
    """
    Split a host that a proxy forwards into its name and its port.

    The name is returned in lower case and without a dot at its end, an IPv6 address in brackets.

    @raise ValueError: the string is not a host with or without a port.
    """
    split = _split_host if len(text) <= _LONGEST_NAME else _split_host.__wrapped__
    return split(text)


@lru_cache(maxsize=4096)
def _split_host(text: str) -> tuple[str, int | None]:
    if not FORWARDED_HOST.fullmatch(text):
        raise ValueError("the value is not a host")
    name, port = _split(text.lower())
    name = name.removesuffix(".")
    if not name or (port is not None and not _is_port(int(port))):
        raise ValueError("the value is not a host")
    return name, None if port is None else int(port)


def check_bind_host(text: str) -> str:
    """
    Check that a string is an IP address, with or without a zone, or could be a host name.

    @raise ValueError: the string is neither an IP address nor a host name.
    """
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        if not _BIND_NAME.fullmatch(text):
            raise ValueError("the value is neither an IP address nor a host name") from None
    return text


def check_network(text: str) -> str:
    """
    Check an IP network, and return it in canonical form; an address becomes a network of one host.

    @raise ValueError: the string is not a network, or its address has bits set beyond the prefix
        length.
    """
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(
            "the value is not a network; networks look like 192.0.2.0/24 or 2001:db8::/32"
        ) from None


UNIX = "unix"
"""
The entry in a list of trusted proxies that stands for every peer that
connects by a UNIX socket.
"""

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
"""The IPv6 addresses that are routed on the Internet (RFC 4291 section 2.4, IANA's registry)."""


def check_proxy(text: str) -> str:
    """
    Check a network of trusted proxies, and return it in canonical form; the word C{unix} is
    returned unchanged.

    @raise ValueError: the string is neither a network nor C{unix}.
    """
    if text == UNIX:
        return text
    network = ipaddress.ip_network(check_network(text))
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        # An IPv4-mapped address of a peer is compared as IPv4, so the network must be IPv4, too.
        first = int(network.network_address) & 0xFFFF_FFFF
        return str(ipaddress.IPv4Network((first, network.prefixlen - 96)))
    return str(network)


def share_of_addresses(networks: Iterable[str]) -> float:
    """
    Compute the share of all IPv4 addresses, or of all global IPv6 addresses, that lies in
    C{networks}.
    """
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
    """
    Whether a host pattern matches a requested host; if a second pattern is given instead of a host,
    whether the first pattern matches every host that the second one matches.
    """
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


def any_host_fits(patterns: tuple[str, ...], host: str) -> bool:
    """
    Return whether one of several patterns matches a host; results for hosts of usual length are
    cached.
    """
    fits = _any_host_fits if len(host) <= _LONGEST_NAME else _any_host_fits.__wrapped__
    return fits(patterns, host)


@lru_cache(maxsize=4096)
def _any_host_fits(patterns: tuple[str, ...], host: str) -> bool:
    return any(host_fits(pattern, host) for pattern in patterns)


def network_fits(pattern: str, address: str) -> bool:
    """Whether an IP address, or a network, lies within the network C{pattern}."""
    within, meant = _network(pattern), _network(address)
    if within is None or meant is None:
        return False
    return within[0] == meant[0] and within[1] <= meant[1] and meant[2] <= within[2]


def any_network_fits(patterns: Iterable[str], address: str) -> bool:
    """Whether an IP address lies within one of several networks."""
    return any(network_fits(pattern, address) for pattern in patterns)


def address_of(text: str) -> str | None:
    """
    Return an IP address in canonical form (an IPv4-mapped address as IPv4), or C{None} if it is not
    valid.
    """
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def client_network(address: str) -> str:
    """
    Return the network that counts as one client: the /64 of an IPv6 address, or an IPv4 address
    itself.
    """
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address}/{_SITE_BITS}", strict=False))
    except ValueError:
        return address


def is_local(url: str) -> bool:
    """Whether the host of a URL is this machine."""
    return is_loopback(urlsplit(url).hostname or "")


def is_loopback(host: str) -> bool:
    """Whether an IP address or a host name is that of the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(maxsize=4096)
def _network(text: str) -> tuple[int, int, int] | None:
    """Parse a network into its IP version and its first and last address, as numbers."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return None
    return network.version, int(network.network_address), int(network.broadcast_address)


def _split(text: str) -> tuple[str, str | None]:
    """Split a host into name and port; the colons of an IPv6 address are inside brackets."""
    if text.startswith("["):
        name, bracket, rest = text.partition("]")
        return name + bracket, rest[1:] if rest.startswith(":") else None
    name, colon, port = text.partition(":")
    return name, port if colon else None


def _is_address(name: str) -> bool:
    bracketed = name.startswith("[") and name.endswith("]")
    if not (bracketed or name[-1:].isdigit()):
        # Nearly all host names are returned here, without parsing an address (2.5 us).
        return False
    try:
        version = ipaddress.ip_address(name[1:-1] if bracketed else name).version
    except ValueError:
        return False
    return bracketed == (version == 6)  # noqa: PLR2004 - only IPv6 addresses have brackets


def _is_port(number: int) -> bool:
    return 1 <= number <= _HIGHEST_PORT
