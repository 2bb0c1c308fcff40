"""
The contract of APISIX with its plugin C{forward-auth}.

APISIX asks the gateway with GET or POST, states the client's request in C{X-Forwarded-*}, and sends
only those headers of the client that C{request_headers} lists.
"""

from __future__ import annotations

from authotron.config.plugins import ContractConfig
from authotron.config.server import Forwarded
from authotron.plugin.contract import Contract, fixed
from authotron.plugin.fact_sources import X_FORWARDED

Config = ContractConfig


def make(config: Config, _forwarded: Forwarded) -> Contract:
    """Build the contract."""
    return Contract("apisix", (fixed(config, X_FORWARDED, "/auth/apisix", ("method", "path")),))
