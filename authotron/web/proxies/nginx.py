"""
The contract of nginx and proxies built on it (Angie, freenginx, ingress-nginx): C{auth_request}.

nginx asks the gateway with GET unless C{proxy_method} says otherwise, sends all headers of the
client, and describes the client's request only in headers that its configuration sets; so the
configuration must set each header that a condition depends on, or a client can send the header
itself.
"""

from __future__ import annotations

from authotron.config.plugins import ContractConfig
from authotron.config.server import Forwarded
from authotron.plugin.contract import LEGACY_PATHS, Answers, Contract, Endpoint, appended, fixed
from authotron.plugin.fact_sources import AddressList, Header, configured, sources

_GET = frozenset({"GET", "HEAD"})
"""The methods allowed at the paths that the gateway shares with auth-o-tron, which it replaces."""

_BUFFER = 64 * 1024
"""C{proxy_buffer_size} of the shipped configuration; the default of nginx is one memory page."""

Config = ContractConfig


def make(config: Config, forwarded: Forwarded) -> Contract:
    """
    Build the contract of nginx; the headers named in `server.forwarded` state host
    and client.
    """
    found = sources(
        method=Header("X-Original-Method"),
        scheme=Header("X-Forwarded-Proto"),
        host=Header(forwarded.host),
        target=Header("X-Original-URI"),
        address=AddressList(forwarded.address),
    )
    needs = tuple(config.required or ())
    legacy = (
        Endpoint(path, configured(found, config), False, _GET, needs, config.refuse_underscores)
        for path in LEGACY_PATHS
    )
    own = "/auth/nginx"
    own_paths = (fixed(config, found, own), appended(config, found, own))
    return Contract("nginx", (*legacy, *own_paths), Answers(max_head_bytes=_BUFFER))
