"""
The protocols other than HTTP by which proxies ask the gateway for decisions, each loaded only when
configured.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from twisted.internet.interfaces import IAddress, IReactorTime

from authotron.config.endpoint import FASTCGI, GRPC
from authotron.gateway.gateway import LiveGateway
from authotron.web.fastpath.protocol import FastPathFactory
from authotron.web.replies import Reply
from authotron.web.site import Site
from authotron.web.trusted_peers import PeerConnection, TrustedPeersFactory

_MODULES = {FASTCGI: "authotron.web.fastcgi.protocol", GRPC: "authotron.web.grpc.protocol"}
"""
The module of each protocol, by the name of the protocol. The function C{connections} of such a
module returns the builder of connections, and its constant C{ALPN}, if it has one, contains the
names of the protocol for TLS.
"""

_Connections = Callable[
    [Site, LiveGateway[Reply], IReactorTime], Callable[[IAddress], PeerConnection]
]


def factory_of(
    protocol: str, fast_path: FastPathFactory, serving: LiveGateway[Reply], clock: IReactorTime
) -> TrustedPeersFactory:
    """
    Build the factory that serves a protocol other than HTTP to trusted proxies.

    @param protocol: a protocol of L{PREFIXES<authotron.config.endpoint.PREFIXES>}.
    @param fast_path: serves HTTP at the main port, with which the factory shares the limit of
        connections, the memory budget, the access log and the metrics.
    """
    module = import_module(_MODULES[protocol])
    build = cast(_Connections, module.connections)(fast_path.site, serving, clock)
    limit, alpn = fast_path.connection_limit, getattr(module, "ALPN", ())
    return TrustedPeersFactory(protocol, build, serving, clock, limit, alpn)
