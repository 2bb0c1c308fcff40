"""HTTP agents of Twisted, each with a connection pool: one for each TLS trust."""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from authotron.concurrency.reactor import IGatewayReactor
from authotron.net.endpoints import connector
from authotron.net.response_heads import StrictEndpoint
from authotron.net.tls import Trust, Verifier
from authotron.net.tls_gates import wrap_tls
from authotron.net.world import Connect

_IDLE = 4.0
"""
Seconds for which an unused connection is kept open, which is shorter than servers keep connections
open, so that no request is sent to a connection that the server has closed.
"""

_KEPT = 16
"""Maximum number of unused connections that are kept open for each host."""


class Connections:
    """
    The HTTP agents of a reactor: one for each TLS trust, each with a connection pool of its own.

    HTTP proxies that environment variables name are not used.
    """

    def __init__(self, reactor: IGatewayReactor, connect: Connect | None = None) -> None:
        """
        @param connect: a function that creates endpoints, by default one that connects by the
        reactor.
        """
        self._reactor = reactor
        self._connect = connect or connector(reactor)
        self._agents: dict[Trust, IAgent] = {}

    def __call__(self, trust: Trust, /) -> IAgent:
        agent = self._agents.get(trust)
        if agent is None:
            agent = self._agents[trust] = self._agent(trust)
        return agent

    def _agent(self, trust: Trust) -> IAgent:
        pool = HTTPConnectionPool(self._reactor)
        pool.maxPersistentPerHost = _KEPT
        pool.cachedConnectionTimeout = _IDLE  # type: ignore[assignment] # any number will do
        pool.retryAutomatically = False  # a library must not repeat a request that may count
        endpoints = _Endpoints(self._reactor, self._connect, Verifier(trust))
        agent: IAgent = Agent.usingEndpointFactory(self._reactor, endpoints, pool)
        return agent


@implementer(IAgentEndpointFactory)
@define(eq=False)
class _Endpoints:
    """Creates endpoints for HTTP connections; servers are verified by one TLS trust."""

    _clock: IReactorTime
    _connect: Connect
    _verifier: Verifier

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Implement L{IAgentEndpointFactory.endpointForURI}."""
        host = uri.host.decode("ascii").strip("[]")
        endpoint = self._connect(host, uri.port)
        if uri.scheme != b"http":
            endpoint = wrap_tls(self._verifier, endpoint, host, self._clock)
        return StrictEndpoint(endpoint)
