"""
HTTP agents of Twisted: one agent, with its own connection pool, for each TLS trust and choice of
proxies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    HTTPConnectionPool,
    ProxyAgent,
    RequestTransmissionFailed,
    ResponseFailed,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from authotron.concurrency.reactor import IGatewayReactor
from authotron.net import proxies as http_proxies
from authotron.net.endpoints import connector
from authotron.net.http_body import RepeatableBytes
from authotron.net.proxies import Proxies, Proxy, ProxyEndpoint, TunnelEndpoint
from authotron.net.response_heads import KeptConnectionLost, StrictEndpoint
from authotron.net.tls import Trust, Verifier
from authotron.net.tls_gates import wrap_tls
from authotron.net.world import Connect

_log = Logger()

_IDLE = 4.0
"""
Seconds for which an unused connection is kept open, which is shorter than servers keep connections
open, so that no request is sent to a connection that the server has closed.
"""

_KEPT = 16
"""Maximum number of unused connections that are kept open for each host."""

_DISTRUSTED = 60.0
"""
Seconds for which each request to a server has a connection of its own after the server closed a
kept connection instead of answering.
"""

_SERVERS = 1000
"""Maximum number of servers for which it is remembered that they closed a kept connection."""


class Connections:
    """
    The HTTP agents of a reactor: one for each TLS trust and each choice of proxies, each with a
    connection pool of its own.
    """

    def __init__(
        self,
        reactor: IGatewayReactor,
        connect: Connect | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        """
        @param connect: a function that creates endpoints, by default one that connects by the
            reactor.
        @param proxies: the HTTP proxies that agents use by default, if the plugin names no proxies
            itself.
        """
        self._reactor = reactor
        self._connect = connect or connector(reactor)
        self._proxies = proxies or Proxies()
        self._agents: dict[tuple[Trust, Proxies], IAgent] = {}

    def __call__(self, trust: Trust, proxies: Proxies | None = None, /) -> IAgent:
        chosen = self._proxies if proxies is None else proxies
        agent = self._agents.get((trust, chosen))
        if agent is None:
            agent = self._agents[trust, chosen] = self._agent(trust, chosen)
        return agent

    def _agent(self, trust: Trust, proxies: Proxies) -> IAgent:
        pool = HTTPConnectionPool(self._reactor)
        pool.maxPersistentPerHost = _KEPT
        pool.cachedConnectionTimeout = _IDLE  # type: ignore[assignment] # any number is accepted
        pool.retryAutomatically = False  # a library must not repeat a request that may count
        once = HTTPConnectionPool(self._reactor, persistent=False)
        endpoints = _Endpoints(self._reactor, self._connect, Verifier(trust), proxies)
        kept, new = (self._pooled(endpoints, each, proxies) for each in (pool, once))
        return _RepeatingAgent(self._reactor, kept, new)

    def _pooled(self, endpoints: _Endpoints, pool: HTTPConnectionPool, proxies: Proxies) -> IAgent:
        direct: IAgent = Agent.usingEndpointFactory(self._reactor, endpoints, pool)
        proxy = proxies.http
        if proxy is None:
            return direct
        endpoint = StrictEndpoint(endpoints.to_proxy(proxy), self._reactor)
        forwarding: IAgent = ProxyAgent(endpoint, self._reactor, pool)
        return _ForwardingAgent(direct, forwarding, proxies, proxy)


def from_environment(reactor: IGatewayReactor, environ: Mapping[str, str]) -> Connections:
    """Return the HTTP agents of a reactor, which use the HTTP proxies of the environment."""
    return Connections(reactor, proxies=http_proxies.from_environment(environ))


@implementer(IAgent)
@define(eq=False)
class _ForwardingAgent:
    """An HTTP agent that sends requests for some C{http} URLs to a proxy, and others directly."""

    _direct: IAgent
    _forwarding: IAgent
    _proxies: Proxies
    _proxy: Proxy

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803 - Twisted's interface gives the argument this name
    ) -> Deferred[IResponse]:
        """Implement L{IAgent.request}."""
        parsed = URI.fromBytes(uri)
        host = _host(parsed)
        if parsed.scheme != b"http" or self._proxies.choose("http", host) is None:
            return self._direct.request(method, uri, headers, bodyProducer)
        _log_proxy(uri, self._proxy)
        sent = headers.copy() if headers is not None else Headers()
        if self._proxy.authorization is not None:
            sent.setRawHeaders(b"proxy-authorization", [self._proxy.authorization])
        return self._forwarding.request(method, uri, sent, bodyProducer)


@implementer(IAgent)
@define(eq=False)
class _RepeatingAgent:
    """
    An HTTP agent that sends a request once more, on a new connection, if the server closed a kept
    connection before reading the request.

    The server may close a connection at any time while the connection is unused (RFC 9112 section
    9.3.1). Only GET, HEAD and requests whose body is L{RepeatableBytes} are repeated, because any
    other request may change something on the server. Each request to a server has a connection of
    its own for a minute after a kept connection to this server was lost; a request with the header
    C{Connection: close} always has one.
    """

    _clock: IReactorTime
    _kept: IAgent
    _new: IAgent
    _distrusted: dict[bytes, float] = field(factory=dict, init=False)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803 - Twisted's interface gives the argument this name
    ) -> Deferred[IResponse]:
        """Implement L{IAgent.request}."""
        server = _server(uri)
        if headers is not None and headers.getRawHeaders(b"connection") == [b"close"]:
            headers = headers.copy()
            headers.removeHeader(b"connection")
            return self._new.request(method, uri, headers, bodyProducer)
        if self._clock.seconds() < self._distrusted.get(server, 0.0):
            return self._new.request(method, uri, headers, bodyProducer)

        def repeat(failure: Failure) -> Deferred[IResponse] | Failure:
            lost = _lost_connection(failure)
            if lost is None:
                return failure
            self._distrust(server)
            if not (lost.is_unread and _may_be_repeated(method, bodyProducer)):
                return failure
            return self._new.request(method, uri, headers, bodyProducer)

        responding = self._kept.request(method, uri, headers, bodyProducer)
        responding.addErrback(repeat)
        return responding

    def _distrust(self, server: bytes) -> None:
        if len(self._distrusted) >= _SERVERS:
            self._distrusted.clear()
        self._distrusted[server] = self._clock.seconds() + _DISTRUSTED


def _may_be_repeated(method: bytes, body: IBodyProducer | None) -> bool:
    is_read = method in (b"GET", b"HEAD") and body is None
    return is_read or isinstance(body, RepeatableBytes)


def _server(uri: bytes) -> bytes:
    return b"/".join(uri.split(b"/", 3)[:3])


def _lost_connection(failure: Failure) -> KeptConnectionLost | None:
    """
    Return the reason why a request failed because its kept connection was lost, or C{None} if the
    request failed for another reason or was cancelled.
    """
    if not isinstance(failure.value, ResponseFailed | RequestTransmissionFailed):
        return None
    reasons = [each.value for each in failure.value.reasons]
    if any(isinstance(each, CancelledError) for each in reasons):
        return None
    return next((each for each in reasons if isinstance(each, KeptConnectionLost)), None)


@implementer(IAgentEndpointFactory)
@define(eq=False)
class _Endpoints:
    """Creates endpoints for HTTP connections, which all have the same TLS trust."""

    _clock: IReactorTime
    _connect: Connect
    _verifier: Verifier
    _proxies: Proxies

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Implement L{IAgentEndpointFactory.endpointForURI}."""
        host = _host(uri)
        if uri.scheme == b"http":
            return StrictEndpoint(self._connect(host, uri.port), self._clock)
        proxy = self._proxies.choose("https", host)
        if proxy is None:
            endpoint = self._connect(host, uri.port)
        else:
            _log_proxy(uri.toBytes(), proxy)
            endpoint = TunnelEndpoint(proxy, self.to_proxy(proxy), host, uri.port)
        return StrictEndpoint(wrap_tls(self._verifier, endpoint, host, self._clock), self._clock)

    def to_proxy(self, proxy: Proxy) -> IStreamClientEndpoint:
        """Return an endpoint that connects to a proxy."""
        return ProxyEndpoint(proxy, self._connect(proxy.host, proxy.port))


def _log_proxy(uri: bytes, proxy: Proxy) -> None:
    """Log the proxy of a request, and of the URL only scheme, host and port."""
    scheme, _, rest = uri.decode("ascii").partition("://")
    _log.debug(
        "requests to {remote} go through the proxy {proxy}",
        remote=f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}",
        proxy=str(proxy),
        event="remote.request.proxied",
    )


def _host(uri: URI) -> str:
    host: bytes = uri.host
    return host.decode("ascii").strip("[]")
