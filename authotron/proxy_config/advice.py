"""Warn if a configuration of the gateway does not fit the proxy in front of it, or is unsafe."""

from __future__ import annotations

from collections.abc import Iterator

from authotron.config.check import Config
from authotron.config.endpoint import FASTCGI, GRPC, HTTP, protocol_of, without_protocol
from authotron.config.server import SYSTEMD
from authotron.model import hosts
from authotron.plugin import trusted_proxies
from authotron.proxy_config.addresses import PACKAGED
from authotron.proxy_config.setting import KUBERNETES, Setting, contract_of
from authotron.proxy_config.time_limits import limit_of

_OPEN = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

_KEEPS_PREFLIGHTS = ("kubernetes-nginx", "kubernetes-envoy-gateway")
"""The proxies whose Kubernetes manifests cannot pass preflight requests (CORS) on."""

_KEEPS_COOKIES = {
    "traefik": "",
    "envoy": " by HTTP; let it ask by gRPC",
    "kubernetes-envoy-gateway": " by HTTP; let it ask by gRPC",
    "kubernetes-istio": " by HTTP; let it ask by gRPC",
    "kubernetes-nginx": "",
    "kubernetes-traefik": "",
}
"""Proxies that cannot remove a single cookie, with the advice for an operator."""

_STATES_CERTIFICATES = ("nginx", "caddy", "haproxy", "kubernetes-nginx")
"""
The proxies that can be configured to state the certificate of a client in a header of any
name.
"""

_OWN_CERTIFICATES = {
    "envoy": "X-Forwarded-Client-Cert",
    "traefik": "X-Forwarded-Tls-Client-Cert",
}
"""
For each proxy that states the certificate of a client in a fixed header, the name of this
header.
"""

_MISSING = {
    HTTP: "server.listen: no endpoint for HTTP at which {proxy} can ask; write host and port, such "
    "as 127.0.0.1 and 8080",
    FASTCGI: "server.listen: no endpoint for FastCGI, so Apache asks by HTTP with a script, which "
    "holds a thread while it waits; add fastcgi:tcp:9001:interface=127.0.0.1",
    GRPC: "server.listen: no endpoint for gRPC, so Envoy asks by HTTP; add "
    "grpc:tcp:9191:interface=127.0.0.1",
}


def advice(proxy: str, config: Config, setting: Setting) -> Iterator[str]:
    """Yield the remarks about the gateway's configuration that an operator should read."""
    yield from _of_endpoints(proxy, config, setting)
    if not proxy.startswith(KUBERNETES):
        yield from _of_exposure(config, setting)
    yield from _of_trust(proxy, config, setting)
    yield from _of_credentials(proxy, setting)
    yield from _of_certificates(proxy, setting)
    types = [each.type for each in config.contracts]
    name = contract_of(proxy)
    if setting.by == HTTP and name not in types:
        yield f"server.contracts: does not contain {name}, so it gets no answer; add it"
    if config.file.cors.pass_preflights and proxy in _KEEPS_PREFLIGHTS:
        yield (
            f"cors.pass_preflights: the configuration of {proxy} cannot pass preflights on, so "
            "they get a 401; name the origins"
        )
    limit = limit_of(name)
    if limit.fixed is not None and limit.is_below(setting.decision):
        yield (
            f"auth.timeout_in_ms: a decision may take {setting.decision:g} s, but {proxy} gives up "
            f"after {limit.fixed:g} s, which cannot be configured; shorten it"
        )


def _of_endpoints(proxy: str, config: Config, setting: Setting) -> Iterator[str]:
    if not setting.is_found:
        yield _MISSING[HTTP].format(proxy=proxy)
    elif setting.by == HTTP and proxy == "apache":
        yield _MISSING[FASTCGI]
    elif setting.by == HTTP and contract_of(proxy) == "envoy":
        yield _MISSING[GRPC]
    if SYSTEMD in config.file.server.listen and setting.gateway in PACKAGED:
        yield (
            f"server.listen: systemd opens the sockets; {setting.gateway} is that of the Debian "
            "package, see `systemctl cat authotron.socket`"
        )


def _of_exposure(config: Config, setting: Setting) -> Iterator[str]:
    """Warn if clients can reach the gateway without passing the proxy, or the proxy without TLS."""
    server = config.file.server
    if server.port is not None and server.host in _OPEN:
        yield (
            f"server.host: {server.host}, so every machine can ask the gateway past the proxy; "
            "write 127.0.0.1, or a UNIX socket"
        )
    for place, given in enumerate(server.listen):
        text = without_protocol(given)
        if text.startswith(("tcp:", "tcp6:", "ssl:")) and "interface=" not in text:
            yield (
                f"server.listen[{place}]: {protocol_of(given)} at every address, so every machine "
                "can ask the gateway past the proxy; add :interface=127.0.0.1"
            )
    if not hosts.is_loopback(setting.listen.host):
        yield (
            f"--listen: {setting.listen} is without TLS, so passwords and tokens arrive "
            "unencrypted; add a certificate to the configuration of the proxy"
        )
    if setting.gateway.tls and hosts.address_of(setting.gateway.host):
        yield (
            f"server.listen: the certificate of the gateway must name {setting.gateway.host}; name "
            "its host by --gateway HOST:PORT"
        )


def _of_credentials(proxy: str, setting: Setting) -> Iterator[str]:
    """Warn of credentials that the proxy cannot remove from requests to the backend."""
    if setting.by == GRPC:
        return  # with gRPC the gateway tells Envoy which headers it must remove
    if setting.cookies and proxy in _KEEPS_COOKIES:
        yield (
            f"credentials: the cookie {', '.join(setting.cookies)} reaches the backend, because "
            f"{proxy} cannot remove one cookie{_KEEPS_COOKIES[proxy]}"
        )
    if setting.parameters:
        yield (
            f"credentials: the parameter {', '.join(setting.parameters)} reaches the backend in "
            "the query, because the configuration of the proxy does not remove it; use a header"
        )


def _of_certificates(proxy: str, setting: Setting) -> Iterator[str]:
    """Warn if the proxy cannot state the certificate of the client in the configured header."""
    name = setting.stated.get("certificate")
    if name is None or setting.by == GRPC or proxy in _STATES_CERTIFICATES:
        return
    if proxy == "apache" and setting.by == HTTP:
        return
    wanted = _OWN_CERTIFICATES.get(proxy)
    if wanted is None:
        yield (
            f"server.contracts: the configuration of {proxy} states no certificate of a client, so "
            "certificates are not verified; see docs/mtls.md"
        )
    elif name.lower() != wanted.lower():
        yield (
            f"server.contracts: {proxy} states the certificate of a client in {wanted} alone; "
            f"write headers: {{certificate: {wanted}}} instead of {name}"
        )


def _of_trust(proxy: str, config: Config, setting: Setting) -> Iterator[str]:
    """Warn if the gateway does not believe the statements of the proxy about a request."""
    proxies, gateway = config.file.server.trusted_proxies, setting.gateway
    if gateway.path or hosts.is_loopback(gateway.host):
        peer = None if gateway.path else "::1" if ":" in gateway.host else "127.0.0.1"
        if trusted_proxies.make(proxies).is_proxy(peer):
            return
        peer = peer or hosts.UNIX
    elif any(each != hosts.UNIX and not _is_loopback(each) for each in proxies):
        return
    else:
        peer = f"the address of {proxy}"
    effect = (
        "what it says about client, host and path is not believed"
        if setting.by == HTTP
        else "its connections are closed unread"
    )
    yield f"server.trusted_proxies: does not contain {peer}, so {effect}; add it"


def _is_loopback(network: str) -> bool:
    return hosts.is_loopback(network.partition("/")[0])
