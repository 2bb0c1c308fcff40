"""
The contract of Apache httpd: a script of C{mod_lua} asks the gateway over HTTP, with headers that
the script alone sets.

The Lua script for Apache states the client's request in C{X-Forwarded-*}, and of the client's own
headers passes on only the credentials. The FastCGI authorizer of Apache does not ask the gateway
over HTTP.
"""

from __future__ import annotations

from authotron.config.plugins import ContractConfig
from authotron.config.server import Forwarded
from authotron.plugin.contract import Contract, fixed
from authotron.plugin.fact_sources import X_FORWARDED

Config = ContractConfig


def make(config: Config, _forwarded: Forwarded) -> Contract:
    """Build the contract."""
    return Contract("apache", (fixed(config, X_FORWARDED, "/auth/apache", ("method", "path")),))
