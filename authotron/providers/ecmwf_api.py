"""A provider that verifies tokens of the ECMWF Web API by the who-am-i service of this API."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from authotron.model.errors import Unavailable
from authotron.model.identity import Identity
from authotron.net import urls
from authotron.net.urls import Url
from authotron.net.world import World
from authotron.plugin import remote_provider
from authotron.plugin.interfaces import IProvider
from authotron.plugin.remote_provider import QueryConfig


class Config(QueryConfig):
    """`type: ecmwf-api`: ask the ECMWF Web API for the user of a token."""

    type: Literal["ecmwf-api"]
    uri: Url = Field(description="base URL of the API; requests go to `/who-am-i?token=` below it")


def _identity(realm: str, answer: dict[str, object]) -> Identity:
    """Convert a response of the ECMWF Web API to an identity with user name and email address."""
    uid, email = answer.get("uid"), answer.get("email")
    if not (isinstance(uid, str) and uid):
        raise Unavailable("the response contains no `uid`")
    return Identity(realm, uid, attributes={"ecmwf-email": email} if isinstance(email, str) else {})


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    return remote_provider.by_query(config, urls.join_url(config.uri, "who-am-i"), world, _identity)
