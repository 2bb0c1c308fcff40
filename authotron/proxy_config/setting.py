"""What the configuration of a proxy depends on: addresses, names, headers and times."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from authotron.config import plugins
from authotron.config.check import Config
from authotron.config.credentials import AUTHORIZATION
from authotron.config.endpoint import FASTCGI, GRPC, HTTP
from authotron.gateway.gateway import Gateway
from authotron.gateway.longest_decision import longest_decision
from authotron.model.errors import ConfigError, Problem
from authotron.plugin.contract import Answers, Contract
from authotron.proxy_config.addresses import LOOPBACK, Address, Kind, reachable

KUBERNETES = "kubernetes-"
"""The prefix of the names of proxies that run in Kubernetes, as the gateway does."""

_CONTRACTS: Mapping[str, str] = {
    "kubernetes-envoy-gateway": "envoy",
    "kubernetes-istio": "envoy",
    "kubernetes-nginx": "nginx",
    "kubernetes-traefik": "traefik",
}
"""The contracts of proxies that have another name than their contract."""

_SERVICE = "authotron.default.svc.cluster.local"
"""The usual host name of the gateway in Kubernetes."""

BY_HTTP: Mapping[str, frozenset[Kind]] = {
    "apache": frozenset({"tcp"}),
    "caddy": frozenset({"tcp", "tls", "unix"}),
    "envoy": frozenset({"tcp", "tls", "unix"}),
    "haproxy": frozenset({"tcp", "tls", "unix"}),
    "nginx": frozenset({"tcp", "tls", "unix"}),
    "traefik": frozenset({"tcp", "tls"}),
}
"""The ways in which each proxy can connect to the gateway to ask by HTTP."""

_OTHERWISE: Mapping[str, tuple[str, frozenset[Kind]]] = {
    "apache": (FASTCGI, frozenset({"tcp"})),
    "envoy": (GRPC, frozenset({"tcp", "tls", "unix"})),
}
"""
The proxies for which a protocol other than HTTP is preferred, and the ways in which they can then
connect.
"""

_PACKAGES = {"apache": "apache2"}
"""The folders below F{/etc} that have another name than their proxy."""

_PLAIN = {"header": re.compile(r"[A-Za-z0-9-]+"), "cookie": re.compile(r"[A-Za-z0-9_-]+")}
_UNUSUAL = "cannot be written for a proxy; use letters, digits and hyphens, and no other characters"

_MARGIN = 2
"""Number of seconds that a proxy waits longer than a decision may take."""


@frozen
class Deployment:
    """
    The options of an operator about the proxy and the service behind it.

    @ivar listen: the address at which the proxy listens.
    @ivar backend: the address of the service that the proxy protects.
    @ivar server_name: the host of the service as clients know it; empty for every host.
    @ivar gateway: the host and port at which the proxy reaches the gateway, if the gateway runs on
        another machine.
    @ivar ca_file: the file with the certificates of the authorities that may sign the gateway's
        certificate.
    @ivar folder: the folder of the proxy's files; if it is empty, the usual folder below F{/etc}.
    """

    listen: Address = field(default=Address(LOOPBACK, 80))
    backend: Address = field(default=Address(LOOPBACK, 8000))
    server_name: str = ""
    gateway: Address | None = None
    ca_file: str = "/etc/ssl/certs/ca-certificates.crt"
    folder: str = ""


@frozen
class Setting:
    """
    The values that a template of a proxy's configuration may name.

    @ivar folder: the folder of the proxy's files.
    @ivar gateway: the address at which the gateway answers by HTTP, or by the protocol C{by}.
    @ivar is_found: whether the gateway's configuration has such an endpoint; without one,
        C{gateway} is a usual address.
    @ivar by: C{http}, C{fastcgi} or C{grpc}.
    @ivar stated: for each fact of a request the header in which the proxy states the fact.
    @ivar profile: the headers, in addition to C{Authorization}, in which the backend reads the
        identity.
    @ivar others: identity headers of other header profiles, and the header in which the proxy
        states the certificate of the client to the gateway; in requests to the backend only a
        client can have sent these headers.
    @ivar credential_headers: the headers, except C{Authorization}, in which the gateway looks for
        credentials; C{cookies} and C{parameters} (of the query) are the other parts.
    @ivar origins: the origins of web pages whose preflight requests (CORS) the proxy answers.
    @ivar pass_preflights: whether the proxy passes preflight requests (CORS) on without asking the
        gateway.
    @ivar error_headers: whether refusals state their status and body in C{X-Error-*}.
    @ivar head_bytes: the maximum number of bytes of the head of an answer that the gateway sends,
        if it is limited.
    @ivar decision: the number of seconds that a decision may take.
    @ivar web: the address at which the gateway answers by HTTP.
    @ivar metadata_paths: the paths of metadata about protected resources (RFC 9728), which the
        proxy passes on to the gateway without asking for a decision.
    """

    listen: Address
    backend: Address
    server_name: str
    ca_file: str
    folder: str
    gateway: Address
    is_found: bool
    by: str
    stated: Mapping[str, str]
    profile: Sequence[str]
    others: Sequence[str]
    credential_headers: Sequence[str]
    cookies: Sequence[str]
    parameters: Sequence[str]
    origins: Sequence[str]
    pass_preflights: bool
    error_headers: bool
    head_bytes: int | None
    decision: float
    web: Address
    metadata_paths: Sequence[str] = ()

    def within(self, usual: int) -> int:
        """
        Return the number of seconds after which the proxy may give up: the usual time C{usual}, or
        more if needed.
        """
        return max(usual, math.ceil(self.decision) + _MARGIN)


def make(gateway: Gateway[Any], proxy: str, deployment: Deployment) -> Setting:
    """
    Return the values that a gateway's configuration provides for a proxy in front of the gateway.

    @raise ConfigError: the name of a header has a meaning in the language of a proxy.
    """
    config = gateway.config
    server = config.file.server
    name = contract_of(proxy)
    by, kinds = _OTHERWISE.get(name, (HTTP, BY_HTTP[name]))
    found = reachable(server, by, kinds)
    if found is None and by != HTTP:
        by, found = HTTP, reachable(server, HTTP, BY_HTTP[name])
    address = found or Address(LOOPBACK, 8080)
    web = address
    if by != HTTP:
        web = reachable(server, HTTP, BY_HTTP[name]) or Address(LOOPBACK, 8080)
    if proxy.startswith(KUBERNETES):
        address, web = (
            Address(_SERVICE, each.port or 8080, tls=each.tls) for each in (address, web)
        )
    if deployment.gateway is not None:
        address = Address(deployment.gateway.host, deployment.gateway.port, tls=address.tls)
        web = address if by == HTTP else Address(deployment.gateway.host, web.port or 8080)
    contract = gateway.contracts.by_name(name) or _usual_contract(config, name)
    answering = contract if by == HTTP else gateway.contracts.of_protocol(by)
    answers = answering.answers or Answers()
    names, cors = gateway.credential_names, config.file.cors
    stated = _stated(contract)
    return Setting(
        deployment.listen,
        deployment.backend,
        deployment.server_name,
        deployment.ca_file,
        deployment.folder or f"/etc/{_PACKAGES.get(proxy, proxy)}",
        address,
        found is not None,
        by,
        stated,
        [*map(_checked, answering.answer_headers)],
        [*_never_of_client(answering, stated)],
        [_checked(name) for name in names.headers if name.lower() != AUTHORIZATION],
        [_checked(name, "cookie") for name in names.cookies],
        names.parameters,
        cors.origins,
        cors.pass_preflights,
        answers.has_error_headers,
        answers.max_head_bytes,
        longest_decision(gateway),
        web,
        [*_metadata_paths(gateway, deployment.server_name)],
    )


def _metadata_paths(gateway: Gateway[Any], server_name: str) -> Iterator[str]:
    """Yield the paths of metadata about the protected resources at the host of the service."""
    resources = gateway.contracts.resources
    for each in () if resources is None else resources.all:
        if server_name in ("", each.host):
            yield each.metadata_path


def contract_of(proxy: str) -> str:
    """Return the name of the contract of a proxy."""
    return _CONTRACTS.get(proxy, proxy)


def _usual_contract(config: Config, proxy: str) -> Contract:
    """Return the contract of a proxy that the configuration does not list."""
    module = plugins.load("contracts", proxy, "server.contracts")
    contract: Contract = module.make(module.Config(type=proxy), config.file.server.forwarded)
    return contract


def _stated(contract: Contract) -> dict[str, str]:
    """Return the headers that a contract reads, by the facts of a request that they state."""
    sources = contract.endpoints[0].sources
    return {fact: _checked(each.headers[0]) for fact, each in sources.items() if each.headers}


def _never_of_client(answering: Contract, stated: Mapping[str, str]) -> Iterator[str]:
    """
    Yield the headers that a client must not send to the backend, apart from those that the gateway
    sets.
    """
    yield from (_checked(name.decode()) for name in answering.profile.missing)
    if "certificate" in stated:
        yield stated["certificate"]


def _checked(name: str, kind: Literal["header", "cookie"] = "header") -> str:
    if not _PLAIN[kind].fullmatch(name):
        raise ConfigError([Problem("", f"the {kind} {name} {_UNUSUAL}")])
    return name
