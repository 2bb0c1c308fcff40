"""
The time for which proxies wait for an answer of the gateway, unless their
configuration changes it.
"""

from __future__ import annotations

from collections.abc import Container

from attrs import frozen


@frozen
class Limit:
    """
    The time limit of a proxy, for which it waits for the gateway.

    @ivar seconds: the time for which the proxy waits without the setting, or C{None} if it waits
        without end.
    @ivar setting: the setting of the proxy that changes the time; empty if there is none.
    """

    proxy: str
    seconds: float | None
    setting: str

    def is_below(self, decision: float) -> bool:
        """Return whether the proxy gives up before a decision that takes C{decision} seconds."""
        return self.seconds is not None and self.seconds <= decision

    @property
    def fixed(self) -> float | None:
        """The number of seconds that a proxy waits whose time limit cannot be changed."""
        return None if self.setting else self.seconds


LIMITS = (
    Limit("apache", 15, "SECONDS"),
    Limit("apisix", 3, "timeout"),
    Limit("caddy", None, "response_header_timeout"),
    Limit("envoy", 0.2, "timeout"),
    Limit("haproxy", None, "timeout"),
    Limit("nginx", 60, "proxy_read_timeout"),
    Limit("skipper", 2, "-webhook-timeout"),
    Limit("traefik", 30, ""),
)
"""The time limits of proxies, in the order of their names."""


def limit_of(proxy: str) -> Limit:
    """Return the time limit of a given proxy."""
    return next(each for each in LIMITS if each.proxy == proxy)


def below(decision: float, proxies: Container[str]) -> list[Limit]:
    """
    Return the time limits of proxies that are below the time of a decision, in seconds.

    @param proxies: the names of the proxies that may ask the gateway.
    """
    return [each for each in LIMITS if each.proxy in proxies and each.is_below(decision)]
