"""
HTTP proxies for requests to remote services: the proxies that the environment names, or those of
one plugin.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.model.errors import Unavailable
from authotron.net.certificates import literal_address
from authotron.net.reasons import describe
from authotron.net.urls import has_host, with_ascii_host

_DEFAULT_PORT = 80
"""The port of an HTTP proxy whose URL names no port."""

_LONGEST = 65_536
"""Maximum number of bytes in the head of a proxy's response to CONNECT."""

_OPENED = re.compile(rb"HTTP/1\.[01] 2[0-9]{2}(?: [^\r\n]*)?\r\n")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")


WANTS_LOGIN = "the proxy wants a login; put user and password into the URL of the proxy"
"""The reason shown for status 407, by which a proxy demands a login (RFC 9110 section 15.5.8)."""


class ProxyFailed(Unavailable):
    """An HTTP proxy cannot be reached, or opens no connection to the remote service."""


@frozen
class Proxy:
    """
    An HTTP proxy.

    @ivar authorization: the header C{Proxy-Authorization}, or C{None}.
    """

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return _host_port(self.host, self.port)


@frozen
class Proxies:
    """
    Which HTTP proxy is used for which remote service.

    @ivar http: the proxy for URLs with C{http}, or C{None} for direct connections.
    @ivar https: the proxy for URLs with C{https}, or C{None} for direct connections.
    @ivar excepted: host names, IP addresses and networks to which the gateway connects without a
        proxy; the entry C{*} means all host names, but no IP addresses.
    """

    http: Proxy | None = None
    https: Proxy | None = None
    excepted: tuple[str, ...] = ()

    @classmethod
    def only(cls, proxy: Proxy | None) -> Proxies:
        """Use one proxy for all URLs, or connect to all URLs directly if C{proxy} is C{None}."""
        return cls(proxy, proxy)

    def choose(self, scheme: str, host: str) -> Proxy | None:
        """
        Return the proxy for requests to C{host}, or C{None} to connect directly.

        Requests to this machine and to link-local addresses never go through a proxy, because the
        proxy would understand names such as localhost as names of another machine.
        """
        proxy = self.https if scheme == "https" else self.http
        if proxy is None or _is_near(host) or self._is_excepted(host):
            return None
        return proxy

    def _is_excepted(self, host: str) -> bool:
        address = literal_address(host)
        if address is not None:
            return any(_contains(each, address) for each in self.excepted)
        name = host.lower().removesuffix(".")
        for each in self.excepted:
            suffix = each.lower().removeprefix(".")
            if each == "*" or name == suffix or name.endswith(f".{suffix}"):
                return True
        return False


_ANY = Proxy("", 0)
"""
A placeholder for any proxy, with which the gateway finds out whether a URL would be requested
through a proxy.
"""


def from_environment(environ: Mapping[str, str]) -> Proxies:
    """
    Read the variables C{http_proxy}, C{https_proxy}, C{all_proxy} and C{no_proxy} as auth-o-tron
    does.

    A variable in capitals (C{HTTP_PROXY}) overrides the variable in lower case. An environment
    variable whose value is not the URL of an HTTP proxy is ignored. In the environment of a CGI
    script, where the variable C{REQUEST_METHOD} is set, the proxy variables are ignored, because
    there a client could set C{HTTP_PROXY} by sending a header C{Proxy}.
    """
    if "REQUEST_METHOD" in environ:
        return Proxies()

    def value(name: str) -> str:
        return environ.get(name.upper(), environ.get(name, "")).strip()

    others = _usable(value("all_proxy"))
    excepted = (each.strip() for each in value("no_proxy").split(","))
    return Proxies(
        _usable(value("http_proxy")) or others,
        _usable(value("https_proxy")) or others,
        tuple(each for each in excepted if each),
    )


def _usable(text: str) -> Proxy | None:
    try:
        return parse(text)
    except ValueError:
        return None


def unsupported(environ: Mapping[str, str], urls: Iterable[str]) -> Iterator[tuple[str, str]]:
    """
    Yield each environment variable that names a proxy which authotron cannot use and which a URL in
    C{urls} would need, with the reason.
    """
    if "REQUEST_METHOD" in environ:
        return
    excepted = from_environment(environ).excepted
    for scheme, host in {(urlsplit(url).scheme, urlsplit(url).hostname or "") for url in urls}:
        if Proxies(_ANY, _ANY, excepted).choose(scheme, host) is None:
            continue
        for name in (f"{scheme}_proxy", "all_proxy"):
            variable = name.upper() if name.upper() in environ else name
            try:
                if value := environ.get(variable, "").strip():
                    parse(value)
                    break
            except UnsupportedProxy as error:
                yield variable, str(error)
                break
            except ValueError:
                continue


class UnsupportedProxy(ValueError):
    """A URL names a proxy of a kind that authotron cannot use."""


_EXAMPLE = "name an HTTP proxy, as in http://proxy.example.org:3128"

_UNSUPPORTED = {"https": "a proxy that is reached by TLS (https)"} | dict.fromkeys(
    ("socks", "socks4", "socks4a", "socks5", "socks5h"), "a SOCKS proxy"
)
"""The kinds of proxies that authotron cannot use, by the scheme of the proxy's URL."""


def parse(text: str) -> Proxy:
    """
    Return the HTTP proxy that a URL names; if the URL has no scheme, C{http} is meant.

    The error messages do not repeat the URL, which may contain a password.

    @raise UnsupportedProxy: the URL names a proxy that is not an HTTP proxy.
    @raise ValueError: the string is not the URL of an HTTP proxy.
    """
    try:
        text = with_ascii_host(text if "://" in text else f"http://{text}")
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"is not the URL of a proxy; {_EXAMPLE}") from None
    if kind := _UNSUPPORTED.get(parts.scheme):
        raise UnsupportedProxy(f"names {kind}, which authotron cannot use; {_EXAMPLE}")
    if parts.scheme != "http" or not host or not has_host(parts) or not text.isascii():
        raise ValueError(f"is not the URL of a proxy; {_EXAMPLE}")
    authorization = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(login.encode())
    return Proxy(host, port or _DEFAULT_PORT, authorization)


def _is_near(host: str) -> bool:
    address = literal_address(host)
    if address is not None:
        return address.is_loopback or address.is_link_local
    name = host.lower().removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


def _contains(network: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        return address in ip_network(network.strip("[]"), strict=False)
    except ValueError:
        return False


def _error(failure: Failure) -> BaseException:
    assert failure.value is not None
    return failure.value


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@implementer(IStreamClientEndpoint)
@frozen
class ProxyEndpoint:
    """An endpoint that connects to a proxy, and fails with L{ProxyFailed}."""

    _proxy: Proxy
    _endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's interface gives the argument this name
        """Implement L{IStreamClientEndpoint.connect}."""

        def failed(failure: Failure) -> Failure:
            if failure.check(ConnectError, ConnectionClosed, DNSLookupError) is None:
                return failure
            return Failure(ProxyFailed(f"proxy {self._proxy}: {describe(_error(failure))}"))

        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connecting.addErrback(failed)


@implementer(IStreamClientEndpoint)
@frozen
class TunnelEndpoint:
    """An endpoint that connects to a remote service through a proxy (RFC 9110 section 9.3.6)."""

    _proxy: Proxy
    _endpoint: IStreamClientEndpoint
    _host: str
    _port: int

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's interface gives the argument this name
        """Implement L{IStreamClientEndpoint.connect}."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        protocol = factory.buildProtocol(None)  # type: ignore[arg-type] # the same call as in the TLS wrappers of Twisted
        assert protocol is not None
        tunnel = _Tunnel(protocol, self._proxy, _host_port(self._host, self._port))
        await self._endpoint.connect(Factory.forProtocol(lambda: tunnel))
        return await tunnel.opened


class _Tunnel(Protocol):
    """
    Takes the place of a protocol until the proxy has opened the connection to the remote service.

    @ivar opened: a Deferred that fires with the protocol once it is connected, and fails with
        L{ProxyFailed}.
    """

    transport: Any

    def __init__(self, protocol: IProtocol, proxy: Proxy, target: str) -> None:
        self._protocol = protocol
        self._proxy = proxy
        self._target = target
        self._head: bytearray | None = bytearray()
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:
        target = self._target.encode("ascii")
        lines = [b"CONNECT %b HTTP/1.1" % target, b"Host: %b" % target]
        if self._proxy.authorization is not None:
            lines.append(b"Proxy-Authorization: %b" % self._proxy.authorization)
        self.transport.write(b"\r\n".join([*lines, b"", b""]))

    def dataReceived(self, data: bytes) -> None:
        if self._head is None:
            self._protocol.dataReceived(data)
            return
        self._head += data
        head, end, rest = bytes(self._head).partition(b"\r\n\r\n")
        if end and _OPENED.match(head + end) is not None:
            self._open(rest)
        elif end or len(self._head) > _LONGEST:
            status = _STATUS.match(head + end)
            answered = f"answered {status[1].decode()}" if status else "did not answer by HTTP"
            self._fail(f"{answered}: {WANTS_LOGIN}" if answered == "answered 407" else answered)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._head is None:
            self._protocol.connectionLost(reason)
        elif not self.opened.called:
            self._fail(describe(_error(reason)))

    def _open(self, rest: bytes) -> None:
        if self.opened.called:
            return
        self._head = None
        self._protocol.makeConnection(self.transport)
        self.opened.callback(self._protocol)
        if rest:
            self._protocol.dataReceived(rest)

    def _fail(self, why: str) -> None:
        if not self.opened.called:
            self.transport.abortConnection()
            self.opened.errback(ProxyFailed(f"proxy {self._proxy}: {why}"))
