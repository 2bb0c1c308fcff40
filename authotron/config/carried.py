"""Name the parts of requests that carry credentials, which proxies must not pass on to backends."""

from __future__ import annotations

from collections.abc import Sequence
from re import Pattern

from attrs import field, frozen

from authotron.config import credentials
from authotron.config.check import Config
from authotron.model import cookies

_USUAL = (credentials.CarrierConfig(header="Authorization"),)
"""The key C{credentials} of a section that does not have it."""


@frozen
class CredentialNames:
    """
    The parts of requests in which the gateway looks for credentials.

    @ivar headers: names of headers as they are configured; C{Authorization} is among them if a
        provider or the token store looks there.
    @ivar cookies: names of cookies.
    @ivar parameters: names of parameters of the query.
    """

    headers: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    _removers: Sequence[Pattern[bytes]] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_removers", [cookies.remover(each) for each in self.cookies])

    @property
    def lower_headers(self) -> tuple[bytes, ...]:
        """The names of the headers in lower case."""
        return tuple(each.lower().encode("ascii") for each in self.headers)

    def without_cookies(self, header: bytes) -> bytes:
        """Return the value of a header C{Cookie} without the cookies that carry credentials."""
        for remover in self._removers:
            header = cookies.without(header, remover)
        return header


NO_NAMES = CredentialNames()


def credential_names(config: Config) -> CredentialNames:
    """
    Return what a proxy must remove from a request before it passes the request on.

    The JWT of the gateway replaces C{Authorization}; where it stands in another header, and
    C{Authorization} is not among the names, the header belongs to the backend.
    """
    sections = [*config.providers, *([config.store] if config.store else [])]
    names: dict[str, dict[str, str]] = {"header": {}, "cookie": {}, "query": {}}
    for section in sections:
        # The Config of another package may derive from PluginConfig, which lacks the key.
        for each in getattr(section, "credentials", None) or _USUAL:
            header = "Authorization" if each.basic or each.is_authorization else each.header
            for kind, name in (("header", header), ("cookie", each.cookie), ("query", each.query)):
                if name:
                    names[kind].setdefault(name.lower() if kind == "header" else name, name)
    found = (tuple(each.values()) for each in names.values())
    return CredentialNames(*found)
