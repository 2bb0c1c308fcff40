"""Find out at which address a proxy reaches the gateway, by the endpoints of a configuration."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Literal

from attrs import frozen

from authotron.config.endpoint import (
    HTTP,
    has_tls,
    is_wrapped,
    protocol_of,
    socket_path,
    tcp_address,
)
from authotron.config.server import SYSTEMD, Server

Kind = Literal["tcp", "tls", "unix"]
"""The ways in which a proxy can connect to the gateway: TCP, TCP with TLS, or a UNIX socket."""

LOOPBACK = "127.0.0.1"

_PLAIN = re.compile(r"[A-Za-z0-9@/._:+-]+")
"""
Matches paths and hosts whose characters have no special meaning in the language of any proxy's
configuration.
"""

_EVERY = ("", "0.0.0.0", "::", "::0")  # noqa: S104 - read, not bound
"""Interfaces that stand for every address of a machine."""


@frozen
class Address:
    """
    Where a server listens.

    @ivar path: the path of a UNIX socket; if it is set, host and port are not used.
    @ivar tls: whether the server expects TLS.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def kind(self) -> Kind:
        """The way in which a proxy connects: its kind, and whether it uses TLS."""
        if self.path:
            return "unix"
        return "tls" if self.tls else "tcp"


PACKAGED = (Address(LOOPBACK, 8080), Address(path="/run/authotron.sock"))
"""The sockets that systemd opens for the Debian package of the gateway."""


def reachable(server: Server, protocol: str, kinds: Container[Kind]) -> Address | None:
    """
    Return the first address at which a proxy on the same machine can ask the gateway, or C{None} if
    there is none.

    @param protocol: the protocol by which the proxy asks the gateway.
    @param kinds: the ways in which the proxy can connect.
    """
    found = (each for each in _addresses(server, protocol) if each.kind in kinds)
    return next((each for each in found if _PLAIN.fullmatch(each.path or each.host)), None)


def _addresses(server: Server, protocol: str) -> Iterator[Address]:
    if protocol == HTTP and server.port is not None:
        yield Address(_nearest(server.host), server.port)
    for text in server.listen:
        if protocol_of(text) != protocol:
            continue
        if text == SYSTEMD:
            yield from PACKAGED
        elif (path := socket_path(text)) and not is_wrapped(text):
            yield Address(path=str(path))
        elif found := tcp_address(text):
            yield Address(_nearest(found[0]), found[1], tls=has_tls(text))


def _nearest(interface: str) -> str:
    """Return the address at which a proxy on the same machine connects to a server."""
    return LOOPBACK if interface in _EVERY else interface
