"""The JSON contract with an operator's own HTTP service, and the client that asks the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import field, frozen
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authotron.config.section import Secret
from authotron.model.errors import Unavailable
from authotron.net import http
from authotron.net.http import RemoteConfig, RemoteResponse, WebClient
from authotron.net.urls import Url
from authotron.net.world import World

A = TypeVar("A", bound="Grants")


class Grants(BaseModel):
    """Roles and attributes of a user in a response; all other members are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    roles: list[str] = Field(default_factory=list)
    attributes: dict[str, str] = Field(default_factory=dict)


class Account(Grants):
    """A user in a response, with the expiry of the credential."""

    username: str = Field(min_length=1)
    scopes: dict[str, list[str]] = Field(default_factory=dict)
    expires: float | None = Field(default=None, ge=0, allow_inf_nan=False)


def read(kind: type[A], content: Mapping[str, Any], place: str) -> A:
    """
    Validate the JSON of a response.

    @raise Unavailable: the response does not keep to the contract.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        reason = f"{where} in the response is missing or has the wrong type"
        raise Unavailable(f"{place}: {reason}") from None


class ServiceConfig(RemoteConfig):
    """The keys of the provider and the augmenter that ask an operator's own service."""

    url: Url = Field(description="URL of the service, to which JSON is posted")
    token: Secret | None = Field(
        default=None,
        description="bearer token with which the gateway authenticates to the service",
    )


@frozen(eq=False)
class Service:
    """Posts JSON to an operator's own service."""

    _web: WebClient
    _url: str
    _token: str | None = field(repr=False)

    async def post(self, content: Mapping[str, Any]) -> RemoteResponse:
        return await self._web.post(self._url, content=content, bearer=self._token)


def make(config: ServiceConfig, world: World) -> Service:
    """Build the client of a service."""
    token = config.token.get_secret_value() if config.token else None
    return Service(http.make(config, world), config.url, token)
