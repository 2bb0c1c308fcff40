"""
Name the parts of clients' requests that carry credentials, which proxies must not pass on to
backends.
"""

from __future__ import annotations

from collections.abc import Sequence
from re import Pattern

from attrs import field, frozen

from authotron.config import credentials
from authotron.config.check import Config
from authotron.model import cookies

PROOF = "DPoP"
"""
The header with the proof of a client whose token is bound to a key (RFC 9449), which the gateway
reads like a credential.
"""

_USUAL = (credentials.CarrierConfig(header="Authorization"),)
"""The value of the key C{credentials} for a section that does not have this key."""


@frozen
class CredentialNames:
    """
    The parts of a client's request in which the gateway looks for credentials.

    @ivar headers: the names of the headers that carry credentials, as they are configured;
        C{Authorization} is one of them if a provider or the token store looks for credentials
        there.
    @ivar cookies: the names of the cookies that carry credentials.
    @ivar parameters: the names of the parameters of the query that carry credentials.
    """

    headers: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    _removers: Sequence[Pattern[bytes]] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_removers", [cookies.remover(each) for each in self.cookies])

    @property
    def lower_headers(self) -> tuple[bytes, ...]:
        """The names, in lower case, of the headers that carry credentials."""
        return tuple(each.lower().encode("ascii") for each in self.headers)

    def without_cookies(self, header: bytes) -> bytes:
        """Return the value of a header C{Cookie} without the cookies that carry credentials."""
        for remover in self._removers:
            header = cookies.without(header, remover)
        return header


NO_NAMES = CredentialNames()


def credential_names(config: Config) -> CredentialNames:
    """
    Return the parts that a proxy must remove from a client's request before it passes the request
    on.

    The JWT of the gateway replaces C{Authorization}; if the profile has the JWT in another header,
    and C{Authorization} carries no credential, the header C{Authorization} belongs to the backend.
    """
    sections = [*config.providers, *([config.store] if config.store else [])]
    names: dict[str, dict[str, str]] = {"header": {}, "cookie": {}, "query": {}}
    for section in sections:
        if credentials.reads_certificates(section):
            # A proxy sends the header with the certificate only to the gateway.
            continue
        # The Config of a plugin in another package may derive from PluginConfig, which lacks the
        # key C{credentials}.
        for each in getattr(section, "credentials", None) or _USUAL:
            header = "Authorization" if each.basic or each.is_authorization else each.header
            for kind, name in (("header", header), ("cookie", each.cookie), ("query", each.query)):
                if name:
                    names[kind].setdefault(name.lower() if kind == "header" else name, name)
    if config.file.tokens.bound is not None:
        names["header"].setdefault(PROOF.lower(), PROOF)
    found = (tuple(each.values()) for each in names.values())
    return CredentialNames(*found)
