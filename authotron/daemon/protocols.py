"""The protocols other than HTTP by which proxies ask for decisions, each loaded when configured."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from twisted.internet.interfaces import IAddress, IReactorTime

from authotron.config.endpoint import FASTCGI
from authotron.gateway.gateway import LiveGateway
from authotron.web.fastpath.protocol import FastPathFactory
from authotron.web.replies import Reply
from authotron.web.site import Site
from authotron.web.trusted_peers import PeerConnection, TrustedPeersFactory

_MODULES = {FASTCGI: "authotron.web.fastcgi.protocol"}
"""The module of each protocol; its function C{connections} returns the builder of connections."""

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
    connections = cast(_Connections, import_module(_MODULES[protocol]).connections)
    build = connections(fast_path.site, serving, clock)
    return TrustedPeersFactory(protocol, build, serving, clock, fast_path.connection_limit)
