"""
The contract of Skipper with its filter C{webhook}.

Skipper asks the gateway with GET, sends all headers of the client, and adds none that describe the
request. Every fact of the client's request is read from headers with a private prefix, which the
route sets before the filter.
"""

from __future__ import annotations

from authotron.config.plugins import PrefixConfig
from authotron.config.server import Forwarded
from authotron.plugin.contract import Contract, fixed
from authotron.plugin.fact_sources import prefixed

Config = PrefixConfig


def make(config: Config, _forwarded: Forwarded) -> Contract:
    """Build the contract."""
    return Contract("skipper", (fixed(config, prefixed(config.prefix), "/auth/skipper"),))
