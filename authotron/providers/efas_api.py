"""Tokens of the European Flood Awareness System: its user service is asked whose they are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from authotron.model.errors import Unavailable
from authotron.model.identity import Identity
from authotron.net.http import Url
from authotron.net.world import World
from authotron.plugin import remote_provider
from authotron.plugin.interfaces import IProvider
from authotron.plugin.remote_provider import QueryConfig


class Config(QueryConfig):
    """`type: efas-api`: ask the EFAS service who a token belongs to."""

    type: Literal["efas-api"]
    uri: Url = Field(description="address asked with `?token=`")


def _identity(realm: str, told: dict[str, object]) -> Identity:
    """Name, roles and mail are kept."""
    username, roles, email = told.get("username"), told.get("roles", []), told.get("email")
    if not (isinstance(username, str) and username):
        raise Unavailable("the service did not say who it is")
    if not isinstance(roles, list):
        raise Unavailable("the service names roles that are no list")
    texts = tuple(role for role in roles if isinstance(role, str))
    if len(texts) != len(roles):
        raise Unavailable("the service names roles that are no texts")
    return Identity(realm, username, texts, {"email": email} if isinstance(email, str) else {})


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its own section."""
    return remote_provider.by_query(config, config.uri, world, _identity)
