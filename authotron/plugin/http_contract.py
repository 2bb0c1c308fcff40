"""
The JSON contract with an HTTP service that the operator runs, and the client that sends requests to
the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from pydantic import Field
from twisted.logger import Logger

from authotron.config.section import Secret
from authotron.jose import claim_values
from authotron.jose.claim_roles import Roles
from authotron.jose.claim_values import as_text, shown, timestamp
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import earliest
from authotron.net import http
from authotron.net.http import RemoteConfig, RemoteResponse, WebClient
from authotron.net.urls import Url
from authotron.net.world import World


@frozen
class Grants:
    """The roles and attributes of a user in a response of an operator's own HTTP service."""

    roles: tuple[str, ...]
    attributes: Mapping[str, str]


@frozen
class Account:
    """
    A user in a response of an operator's own HTTP service, with the expiry of the credential in
    seconds since the epoch.
    """

    username: str
    grants: Grants
    scopes: Mapping[str, tuple[str, ...]]
    expires: float | None


@frozen
class ResponseReader:
    """
    Reads the JSON responses of an operator's HTTP service, and ignores unknown keys.

    Roles, attributes and scopes of an unexpected type in a response are left out, and a warning is
    logged once for each member. A malformed user name or expiry in a response of the operator's
    service is an error.

    @ivar name: the name of the plugin; if C{scopes} in a response is a list, these are scopes for a
        service of this name.
    """

    name: str
    _warned: set[str] = field(factory=set, init=False, eq=False, repr=False)
    _log = Logger()

    def read_grants(self, content: Mapping[str, Any]) -> Grants:
        """Return the roles and attributes of a user from a response."""
        roles = Roles()
        roles.read(content.get("roles"))
        if not roles.is_readable:
            self._warn("roles", content["roles"], "a list of strings, a string or a map of roles")
        return Grants(tuple(roles.names), self._attributes(content.get("attributes")))

    def read_account(self, content: Mapping[str, Any], place: str) -> Account:
        """
        Return the user name, roles, attributes, scopes and expiry from a response.

        @raise Unavailable: the user name in the response is missing or malformed, or the expiry is
            malformed.
        """
        username = content.get("username")
        if not (isinstance(username, str) and username):
            reason = "is missing" if username is None else f"is {shown(username)}"
            raise Unavailable(f"{place}: username in the response {reason}, wanted a string")
        try:
            expires = earliest(timestamp(content, "expires"), timestamp(content, "exp"))
        except Rejected as malformed:
            raise Unavailable(f"{place}: in the response {malformed}") from None
        return Account(username, self.read_grants(content), self._scopes(content), expires)

    def _attributes(self, value: object) -> Mapping[str, str]:
        if value is not None and not isinstance(value, dict):
            self._warn("attributes", value, "an object")
            return {}
        known = value or {}
        return {name: as_text(each) for name, each in known.items() if each is not None}

    def _scopes(self, content: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
        """
        Return a map from services to scopes; if a response has a plain list of scopes, they belong
        to the service C{name}.
        """
        value = content.get("scopes")
        if not isinstance(value, dict):
            found = claim_values.scopes(content)
            if not found and value not in (None, "", []):
                self._warn("scopes", value, "lists of strings by service")
            return {self.name: found} if found else {}
        if any(not isinstance(each, str | list | None) for each in value.values()):
            self._warn("scopes", value, "lists of strings by service")
        return {service: claim_values.words(each) for service, each in value.items()}

    def _warn(self, member: str, value: object, wanted: str) -> None:
        if member not in self._warned:
            self._warned.add(member)
            self._log.warn(
                "{plugin}: {member} in a response has values that are left out: {found}; wanted "
                "{wanted}",
                plugin=self.name,
                member=member,
                found=shown(value),
                wanted=wanted,
                event="remote.response.unreadable",
            )


class ServiceConfig(RemoteConfig):
    """
    The configuration keys of a provider or augmenter that asks an
    operator's own HTTP service.
    """

    url: Url = Field(description="URL of the service, to which JSON is posted")
    token: Secret | None = Field(
        default=None,
        description="bearer token with which the gateway authenticates to the service",
    )


@frozen(eq=False)
class Service:
    """The client of an operator's own HTTP service, to which it posts JSON."""

    _web: WebClient
    _url: str
    _token: str | None = field(repr=False)

    async def post(self, content: Mapping[str, Any]) -> RemoteResponse:
        return await self._web.post(self._url, content=content, bearer=self._token)


def make(config: ServiceConfig, world: World) -> Service:
    """Build the client of an operator's own HTTP service."""
    token = config.token.get_secret_value() if config.token else None
    return Service(http.make(config, world), config.url, token)
