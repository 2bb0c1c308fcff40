"""Recognise a proxy by the headers C{Server} and C{Via} of its answers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from authotron.probe.answers import Answer

PROXIES = ("nginx", "apache", "caddy", "haproxy", "traefik", "envoy")
"""The names of the proxies for which remedies are known."""

_SIGNS = {
    "nginx": r"nginx|openresty|angie|freenginx",
    "apache": r"apache",
    "caddy": r"caddy",
    "haproxy": r"haproxy",
    "traefik": r"traefik",
    "envoy": r"envoy",
}


def recognized(found: Iterable[Answer]) -> str | None:
    """Return which proxy sent the answers, by C{Server} and C{Via}, or C{None}."""
    texts = [text for each in found for name in ("server", "via") for text in each.values(name)]
    for proxy, sign in _SIGNS.items():
        if any(re.search(rf"\b(?:{sign})\b", text, re.IGNORECASE) for text in texts):
            return proxy
    return None
