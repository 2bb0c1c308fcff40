"""What the configuration of a proxy depends on: addresses, names and headers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from attrs import frozen

from authotron.config.check import Config
from authotron.config.endpoint import FASTCGI, GRPC, HTTP, protocol_of, without_protocol
from authotron.config.plugins import PrefixConfig
from authotron.config.server import Server

_EVERY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}  # noqa: S104 - read, not bound
"""Addresses that stand for every address of a machine, and where a proxy on it connects."""


@frozen
class Address:
    """A host and a port at which a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class Setting:
    """
    All that a template may name.

    @ivar listen: where the proxy listens.
    @ivar backend: the service that the proxy protects.
    @ivar server_name: the host of the service as clients know it; empty for every host.
    @ivar gateway: where the gateway answers HTTP; C{fastcgi} and C{grpc} where it speaks these.
    @ivar prefix: how the headers begin in which HAProxy states a request.
    @ivar legacy: whether the gateway sends the headers C{X-Auth-*}.
    """

    listen: Address
    backend: Address
    server_name: str
    gateway: Address
    fastcgi: Address
    grpc: Address
    prefix: str
    legacy: bool


def setting(config: Config, listen: Address, backend: Address, server_name: str) -> Setting:
    """Return what a configuration of the gateway says of the proxy in front of it."""
    server, legacy = config.file.server, config.file.include_legacy_headers
    return Setting(
        listen,
        backend,
        server_name,
        gateway=_first(server, HTTP, 8080),
        fastcgi=_first(server, FASTCGI, 9001),
        grpc=_first(server, GRPC, 9191),
        prefix=_prefix(config),
        legacy=legacy,
    )


def _prefix(config: Config) -> str:
    prefixes = [
        each.prefix
        for each in config.contracts
        if isinstance(each, PrefixConfig) and each.type == "haproxy"
    ]
    return prefixes[0] if prefixes else PrefixConfig(type="haproxy").prefix


def _first(server: Server, protocol: str, otherwise: int) -> Address:
    """Return the first TCP port at which a protocol is served, or else a usual one."""
    return next(_ports(server, protocol), Address("127.0.0.1", otherwise))


def _ports(server: Server, protocol: str) -> Iterator[Address]:
    if protocol == HTTP and server.port is not None:
        yield Address(_EVERY.get(server.host, server.host), server.port)
    for text in _endpoints(server.listen, protocol):
        if found := re.match(r"tcp6?:(?:port=)?([0-9]+)", text):
            interface = re.search(r":interface=((?:[^:\\]|\\.)*)", text)
            host = interface[1].replace("\\", "") if interface else ""
            yield Address(_EVERY.get(host, host), int(found[1]))


def _endpoints(listen: Sequence[str], protocol: str) -> Iterator[str]:
    return (without_protocol(each) for each in listen if protocol_of(each) == protocol)
