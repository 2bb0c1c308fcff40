"""
The contract of HAProxy with Lua scripts such as C{auth-request}, or C{core.httpclient}.

HAProxy sends all headers of the client to the gateway, and adds none that describe the request.
Every fact of the client's request is read from headers with a private prefix, which the
configuration of HAProxy deletes and then sets.
"""

from __future__ import annotations

from authotron.config.plugins import PrefixConfig
from authotron.config.server import Forwarded
from authotron.plugin.contract import Answers, Contract, fixed
from authotron.plugin.fact_sources import prefixed

Config = PrefixConfig

_ANSWERS = Answers(max_head_bytes=64 * 1024)
"""
Half of C{tune.bufsize} in the shipped configuration, because the headers of the client take the
other half; the default of HAProxy is 16 KiB for both.
"""


def make(config: Config, _forwarded: Forwarded) -> Contract:
    """Build the contract."""
    return Contract("haproxy", (fixed(config, prefixed(config.prefix), "/auth/haproxy"),), _ANSWERS)
