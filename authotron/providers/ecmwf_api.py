"""Tokens of the ECMWF Web API: its who-am-i service is asked whose they are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from authotron.model.errors import Unavailable
from authotron.model.identity import Identity
from authotron.net import http
from authotron.net.http import Url
from authotron.net.world import World
from authotron.plugin import remote_provider
from authotron.plugin.interfaces import IProvider
from authotron.plugin.remote_provider import QueryConfig


class Config(QueryConfig):
    """`type: ecmwf-api`: ask the ECMWF Web API who a token belongs to."""

    type: Literal["ecmwf-api"]
    uri: Url = Field(description="address of the API; `/who-am-i?token=` is asked below it")


def _identity(realm: str, told: dict[str, object]) -> Identity:
    """Of all that the service tells only name and mail are kept."""
    uid, email = told.get("uid"), told.get("email")
    if not (isinstance(uid, str) and uid):
        raise Unavailable("the service did not say who it is")
    return Identity(realm, uid, attributes={"ecmwf-email": email} if isinstance(email, str) else {})


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its own section."""
    return remote_provider.by_query(config, http.below(config.uri, "who-am-i"), world, _identity)
