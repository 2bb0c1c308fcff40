"""
Traefik: C{forwardAuth}.

Traefik asks the gateway with GET, or with the method of the client (C{preserveRequestMethod}), and
states the client's request in C{X-Forwarded-*}, which it overwrites unless C{trustForwardHeader} is
set. Traefik sends any reply but a 2xx to the client as it is.
"""

from __future__ import annotations

from authotron.config.plugins import ContractConfig
from authotron.config.server import Forwarded
from authotron.plugin.contract import Contract, fixed
from authotron.plugin.fact_sources import X_FORWARDED

Config = ContractConfig


def make(config: Config, _forwarded: Forwarded) -> Contract:
    """Build the contract."""
    return Contract("traefik", (fixed(config, X_FORWARDED, "/auth/traefik", ("method", "path")),))
