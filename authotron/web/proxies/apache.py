"""
Apache httpd: C{mod_lua} that asks over HTTP with headers of its own alone.

The script states the request in C{X-Forwarded-*}, and passes on no other header of the client than
the credentials. The FastCGI authorizer of Apache does not ask over HTTP.
"""

from __future__ import annotations

from authotron.config.plugins import ContractConfig
from authotron.config.server import Forwarded
from authotron.plugin.contract import X_FORWARDED, Contract, fixed

Config = ContractConfig


def make(config: Config, _forwarded: Forwarded) -> Contract:
    """Build the contract."""
    return Contract("apache", (fixed(config, X_FORWARDED, "/auth/apache", ("method", "path")),))
