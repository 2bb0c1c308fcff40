"""
The contract of Envoy and proxies built on it (Istio, Envoy Gateway, Emissary):
C{ext_authz} over HTTP.

Envoy keeps the method of the client, and appends path and query of the client, undecoded, to
C{path_prefix}. Envoy lets a request pass only if the gateway answers 200. Envoy sends the address
of the client only if C{allowed_headers} names C{x-forwarded-for}. A header of the client that is
not in the gateway's reply reaches the backend, so a 200 names the identity headers that Envoy must
remove.
"""

from __future__ import annotations

from authotron.config.plugins import ContractConfig
from authotron.config.server import Forwarded
from authotron.plugin.contract import Answers, Contract, appended
from authotron.plugin.fact_sources import AddressList, Header, sources

Config = ContractConfig

_HEAD = 60 * 1024
"""Bytes of the head of a response that Envoy accepts by default (C{max_response_headers_kb})."""


def make(config: Config, _forwarded: Forwarded) -> Contract:
    """Build the contract."""
    found = sources(
        scheme=Header("X-Forwarded-Proto"),
        host=Header("Host"),
        address=AddressList("X-Forwarded-For"),
    )
    answers = Answers(removed_in="X-Envoy-Auth-Headers-To-Remove", max_head_bytes=_HEAD)
    return Contract("envoy", (appended(config, found, "/auth/envoy"),), answers)
