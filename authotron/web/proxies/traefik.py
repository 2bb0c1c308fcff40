"""
Traefik: C{forwardAuth}.

Traefik asks with GET, or with the method of the client (C{preserveRequestMethod}), and states the
request in C{X-Forwarded-*}, which it overwrites unless C{trustForwardHeader} is set. Whatever is
not 2xx goes to the client as it is.
"""

from __future__ import annotations

from typing import Literal

from authotron.config.plugins import ContractConfig
from authotron.config.server import Forwarded
from authotron.plugin.contract import X_FORWARDED, Contract, fixed


class Config(ContractConfig):
    """`type: traefik`: the middleware `forwardAuth` of Traefik."""

    type: Literal["traefik"]


def make(config: Config, _forwarded: Forwarded) -> Contract:
    """Build the contract."""
    return Contract("traefik", (fixed(config, X_FORWARDED, "/auth/traefik", ("method", "path")),))
