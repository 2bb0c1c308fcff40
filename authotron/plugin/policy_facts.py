"""
The demands of policies on the contracts of proxies: each authentication request must state path and
method.
"""

from __future__ import annotations

from attrs import evolve, field, frozen

from authotron.plugin.contract import Contract, Endpoint
from authotron.plugin.fact_sources import AnyQuestion, Source

NGINX = "nginx"
"""The name and the type of the contract of nginx."""

_NEEDED = ("method", "path")
"""The facts of a request on which each decision of a policy depends."""


@frozen
class _NoNamespace:
    """The source of the namespace for proxies that name no namespace."""

    headers: tuple[str, ...] = field(default=(), init=False)

    def check(self, question: AnyQuestion, fact: str) -> None:
        """Do nothing: a request may lack a namespace."""

    def read(self, question: AnyQuestion, fact: str) -> None:
        """Return C{None}: the request has the namespace that the configuration states."""


def with_policy_facts(contract: Contract, *, required: bool) -> Contract:
    """
    Return a contract whose proxy must state the facts that policies need.

    @param required: whether a proxy's request that lacks path or method gets a 400.
    """
    endpoints = (
        _with_facts(each, _method(contract, each), required=required) for each in contract.endpoints
    )
    return evolve(contract, endpoints=tuple(endpoints))


def _method(contract: Contract, endpoint: Endpoint) -> Source | None:
    """
    Return where a proxy states the method of the client.

    nginx asks with GET, whatever the client's method is, unless C{proxy_method} says otherwise; so
    policies believe a header alone, also where nginx appends the path to that of the contract.
    """
    if contract.name == NGINX and endpoint.appends:
        stated = (each.sources.get("method") for each in contract.endpoints if not each.appends)
        return next(stated, None)
    return endpoint.sources.get("method")


def _with_facts(endpoint: Endpoint, method: Source | None, *, required: bool) -> Endpoint:
    needed = (*endpoint.required, *_NEEDED) if required else endpoint.required
    sources = {"namespace": _NoNamespace(), **endpoint.sources}
    return evolve(
        endpoint,
        sources=sources if method is None else {**sources, "method": method},
        required=tuple(dict.fromkeys(needed)),
    )
