"""
Protected resources (RFC 9728): the services behind the gateway that OAuth clients discover by
metadata, and which of these services a request is for.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from attrs import field, frozen

from authotron.model.errors import UnusableFact
from authotron.model.hosts import split_host
from authotron.model.request import Facts

WELL_KNOWN = "/.well-known/oauth-protected-resource"
"""The path of the metadata of a protected resource without a path (RFC 9728 section 3)."""

_USUAL_PORTS = {"http": 80, "https": 443}


@frozen
class ProtectedResource:
    """
    A service behind the gateway that has metadata of its own.

    @ivar url: the URL that identifies the service; all paths below the URL belong to the service.
    @ivar path: the path of the URL, which is empty or begins with a slash and does not end with
        one.
    @ivar metadata_path: the path of the metadata, at the host of the service.
    @ivar metadata_url: the URL of the metadata, which a challenge names.
    """

    url: str
    host: str = field(init=False)
    port: int = field(init=False)
    path: str = field(init=False)
    metadata_path: str = field(init=False)
    metadata_url: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        parts = urlsplit(self.url)
        host, port = split_host(parts.netloc)
        metadata_path = f"{WELL_KNOWN}{parts.path}"
        found = {
            "host": host,
            "port": port or _USUAL_PORTS[parts.scheme],
            "path": parts.path,
            "metadata_path": metadata_path,
            "metadata_url": f"{parts.scheme}://{parts.netloc}{metadata_path}",
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def is_at(self, host: str, port: int | None) -> bool:
        """
        Return whether the service has a host and port; proxies do not always state the port, so an
        unknown port fits each port.
        """
        return self.host == host and port in (None, self.port)

    def contains(self, path: str) -> bool:
        """Return whether a path is the path of the service, or below it."""
        return path == self.path or path.startswith(f"{self.path}/")


class ProtectedResources:
    """
    All protected resources of a configuration.

    @ivar all: the protected resources; those with the longest paths come first.
    """

    def __init__(self, resources: Iterable[ProtectedResource]) -> None:
        self.all = sorted(resources, key=lambda each: -len(each.path))

    def of_request(self, facts: Facts) -> ProtectedResource | None:
        """
        Return the protected resource that a client requests, or C{None} if there is none, or if no
        trusted proxy states the requested host.
        """
        candidates = self._at_host(facts)
        if not candidates:
            return None
        path = _path(facts)
        return next((each for each in candidates if each.contains(path)), None)

    def with_metadata_at(self, path: str, facts: Facts) -> ProtectedResource | None:
        """
        Return the protected resource whose metadata a client requests, or C{None} if there is none.

        @param path: the requested path, which begins with L{WELL_KNOWN}.
        """
        found = (each for each in self._at_host(facts) if each.metadata_path == path)
        return next(found, None)

    def _at_host(self, facts: Facts) -> list[ProtectedResource]:
        try:
            host, port = facts.host, facts.port
        except UnusableFact:
            return []
        return [each for each in self.all if each.is_at(host, port)]


def _path(facts: Facts) -> str:
    """Return the path of a client's request, or C{/} if no trusted proxy states it clearly."""
    try:
        return facts.path
    except UnusableFact:
        return "/"
