"""The address of a proxy: its URL, and the IP addresses of its host."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from attrs import frozen

_PORTS = {"http": 80, "https": 443}
_PRINTABLE = range(0x21, 0x7F)


@frozen
class Place:
    """
    The parts of the URL of the proxy to attack.

    @ivar authority: host and port, in the form of the header C{Host}.
    @ivar base: the path of the URL, which ends with a slash.
    """

    is_tls: bool
    host: str
    port: int
    authority: str
    base: str

    def addresses(self) -> list[str]:
        """
        Return the IP addresses of the host of the proxy.

        @raise OSError: the host name of the proxy cannot be resolved.
        """
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(each[4][0]) for each in found))


def parse(url: str) -> Place:
    """
    Read a URL.

    @raise ValueError: the text is not a URL that can be attacked; the message says why, and does
        not repeat the URL.
    """
    if any(ord(each) not in _PRINTABLE for each in url):
        raise ValueError("has characters that are not printable ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("has an invalid host or port") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("is not a URL that begins with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("contains a user name or password: give --user or --credential-file")
    if parts.query or parts.fragment or "{" in url:
        raise ValueError("must not have a query, a fragment or braces")
    base = parts.path if parts.path.endswith("/") else f"{parts.path}/"
    is_tls = parts.scheme == "https"
    return Place(is_tls, parts.hostname, port or _PORTS[parts.scheme], parts.netloc, base)


def is_loopback(address: str) -> bool:
    """Return whether an address is a loopback address of this machine."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
