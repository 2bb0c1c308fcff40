"""The origins (scheme, host and port; RFC 6454) to which a token may be sent."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int | None]


def origin_of(url: str) -> Origin:
    """Return scheme, host and port of a URL."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme)


def origins(urls: Collection[str]) -> frozenset[Origin]:
    """
    Return the origins of some URLs.

    @raise ValueError: no URL is given, or one of the URLs is not an http or https URL.
    """
    found = frozenset(origin_of(url) for url in urls)
    if not found or not all(scheme in _PORTS and host for scheme, host, _ in found):
        raise ValueError("name the http or https URLs of the services that the token is for")
    return found
