"""
The contract of Caddy, by C{forward_auth}, or C{reverse_proxy} with C{rewrite /auth/caddy{uri}}.

C{forward_auth} asks the gateway with GET and states the client's request in C{X-Forwarded-*}; it
appends the query of the client to the path of the contract, and this query is ignored. With
C{rewrite} Caddy appends path and query of the client, and keeps the method of the client.
"""

from __future__ import annotations

from authotron.config.plugins import ContractConfig
from authotron.config.server import Forwarded
from authotron.plugin.contract import Contract, appended, fixed
from authotron.plugin.fact_sources import X_FORWARDED

Config = ContractConfig


def make(config: Config, _forwarded: Forwarded) -> Contract:
    """Build the contract."""
    path = "/auth/caddy"
    short = fixed(config, X_FORWARDED, path, ("method", "path"))
    return Contract("caddy", (short, appended(config, X_FORWARDED, path)))
