"""
The contracts of the configured proxies; finds the contract to which an incoming
request belongs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from authotron.config.server import Forwarded
from authotron.plugin.contract import Contract, Endpoint
from authotron.plugin.fact_sources import AddressList, Header, RequestLine, sources
from authotron.plugin.trusted_proxies import TrustedProxies

if TYPE_CHECKING:  # imported only if protected resources are configured
    from authotron.model.protected_resources import ProtectedResources


class Asked(NamedTuple):
    """
    The contract to which the authentication request of a proxy belongs.

    @ivar target: the part of the request target behind the path of the endpoint; empty unless
        proxies append the client's path there.
    """

    contract: Contract
    endpoint: Endpoint
    target: bytes = b""


class Contracts:
    """
    Finds the contract of a proxy's authentication request by the literal bytes of the request
    target, before any decoding.

    @ivar direct: reads the facts of requests that a client makes to the gateway itself.
    @ivar resources: the protected resources whose metadata the challenges of refusals name, or
        C{None} if none are configured.
    """

    def __init__(
        self,
        contracts: Sequence[Contract],
        proxies: TrustedProxies,
        forwarded: Forwarded,
        protocols: Sequence[Contract] = (),
        resources: ProtectedResources | None = None,
    ) -> None:
        """
        @param forwarded: the headers in which proxies forward clients' own requests.
        @param protocols: the contracts of protocols other than HTTP, such as gRPC.
        """
        self.contracts = tuple(contracts)
        self._named = {each.name: each for each in self.contracts}
        self._protocols = {each.name: each for each in protocols}
        self.proxies = proxies
        self.resources = resources
        self.direct = _direct(forwarded)
        self.exact = {
            each.endpoint.path.encode(): each for each in self._every() if not each.endpoint.appends
        }
        self._paths = tuple(each.endpoint.path.encode() + b"/" for each in self._every())
        self._appending = tuple(
            (each.endpoint.path.encode() + b"/", each)
            for each in self._every()
            if each.endpoint.appends
        )

    def _every(self) -> Iterator[Asked]:
        for contract in self.contracts:
            for endpoint in contract.endpoints:
                yield Asked(contract, endpoint)

    def find(self, target: bytes) -> Asked | None:
        """
        Return the contract of a request with C{target}, or C{None} if C{target} belongs to no
        contract.
        """
        exact = self.exact.get(target.partition(b"?")[0])
        if exact is not None:
            return exact
        for start, (contract, endpoint, _) in self._appending:
            # a proxy that appends the target of a client's C{OPTIONS *}
            if target.startswith(start) or target == start[:-1] + b"*":
                return Asked(contract, endpoint, target[len(start) - 1 :])
        return None

    def may_become_path(self, start: bytes) -> bool:
        """Return whether a target that begins with C{start} can belong to a contract."""
        return any(path.startswith(start) for path in self._paths)

    def headers(self) -> frozenset[str]:
        """
        Return the names, in lower case, of all headers in which a fact of a request
        may be stated.
        """
        endpoints = (self.direct, *(each.endpoint for each in self._every()))
        sources = (each for endpoint in endpoints for each in endpoint.sources.values())
        return frozenset(name.lower() for source in sources for name in source.headers)

    def state(self, fact: str) -> bool:
        """Return whether a proxy may state a fact, such as the certificate, in a header."""
        return any(fact in each.endpoint.sources for each in self._every())

    def by_name(self, name: str) -> Contract | None:
        """Return the contract with a given name, or C{None} if it is not configured."""
        return self._named.get(name)

    def of_protocol(self, name: str) -> Contract:
        """Return the contract of a protocol other than HTTP, which every gateway has."""
        return self._protocols[name]


def _direct(forwarded: Forwarded) -> Endpoint:
    """
    Return the endpoint for requests that clients make to the gateway itself, such as C{/whoami};
    proxies may forward these requests.
    """
    line, scheme = RequestLine(is_own=True), Header("X-Forwarded-Proto")
    found = sources(
        method=line,
        target=line,
        scheme=scheme,
        host=Header(forwarded.host),
        address=AddressList(forwarded.address),
    )
    return Endpoint("", found)
