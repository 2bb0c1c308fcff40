"""How long proxies wait for an answer of the gateway, unless their configuration says otherwise."""

from __future__ import annotations

from attrs import frozen


@frozen
class Limit:
    """
    How long a proxy waits.

    @ivar usual: the seconds without a setting, or C{None} if it waits without an end.
    @ivar setting: the directive that changes the time; empty if it cannot be changed.
    """

    proxy: str
    usual: float | None
    setting: str

    @property
    def fixed(self) -> float | None:
        """The seconds of a proxy whose time limit cannot be changed."""
        return None if self.setting else self.usual


LIMITS = (
    Limit("apache", 60, "Timeout"),
    Limit("caddy", None, "response_header_timeout"),
    Limit("envoy", 0.2, "timeout of grpc_service or http_service"),
    Limit("haproxy", None, "timeout of core.httpclient"),
    Limit("nginx", 60, "proxy_read_timeout"),
    Limit("traefik", 30, ""),
)
"""
The time limits of proxies. Sources: Apache's C{Timeout}, nginx's C{proxy_read_timeout}, Envoy's
C{envoy_grpc.timeout} of ext_authz, Traefik's C{ForwardAuth}, whose HTTP client has 30 s.
"""


def limit_of(proxy: str) -> Limit:
    """Return the time limit of a proxy."""
    return next(each for each in LIMITS if each.proxy == proxy)
