"""
A provider that verifies tokens of the European Flood Awareness System (EFAS) by the EFAS user
service.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from authotron.model.errors import Unavailable
from authotron.model.identity import Identity
from authotron.net.urls import Url
from authotron.net.world import World
from authotron.plugin import remote_provider
from authotron.plugin.interfaces import IProvider
from authotron.plugin.remote_provider import QueryConfig


class Config(QueryConfig):
    """`type: efas-api`: ask the EFAS user service for the user of a token."""

    type: Literal["efas-api"]
    uri: Url = Field(description="URL of the user service; `?token=` is added")


def _identity(realm: str, answer: dict[str, object]) -> Identity:
    """
    Convert a response of the EFAS user service to an identity with user name, roles and email
    address.
    """
    username, roles, email = answer.get("username"), answer.get("roles", []), answer.get("email")
    if not (isinstance(username, str) and username):
        raise Unavailable("the response contains no `username`")
    if not isinstance(roles, list):
        raise Unavailable("`roles` in the response is not a list")
    names = tuple(role for role in roles if isinstance(role, str))
    if len(names) != len(roles):
        raise Unavailable("`roles` in the response contains a value that is not a string")
    return Identity(realm, username, names, {"email": email} if isinstance(email, str) else {})


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    return remote_provider.by_query(config, config.uri, world, _identity)
