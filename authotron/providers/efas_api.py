"""Tokens of the European Flood Awareness System: its user service is asked whose they are."""

from __future__ import annotations

from typing import Literal

from attrs import evolve, frozen
from pydantic import Field
from twisted.internet.interfaces import IReactorTime

from authotron import asking, routing, web_client
from authotron.errors import Unavailable
from authotron.identity import Identity
from authotron.parts import PartConfig
from authotron.providers import IProvider
from authotron.settings import Seconds
from authotron.web_client import RemoteConfig, Url, WebClient
from authotron.world import World


class Config(PartConfig, RemoteConfig):
    """`type: efas-api`: ask the EFAS service who a token belongs to."""

    type: Literal["efas-api"]
    uri: Url = Field(description="address asked with `?token=`")
    cache: Seconds = Field(default=60, description="seconds an answer is believed")
    accepts: routing.Rule = Field(
        default="opaque", description="which tokens it is asked about; `any` for all of them"
    )


@frozen
class EfasApi:
    """Asks about one token."""

    _realm: str
    _clock: IReactorTime
    _web: WebClient
    _url: str
    _life: float

    async def ask(self, token: str) -> Identity:
        """
        Whose it is.

        @raise Rejected: nobody's.
        @raise Unavailable: the service does not say.
        """
        answer = await self._web.get(self._url, {"token": token})
        identity = _identity(self._realm, web_client.judged(answer))
        return evolve(identity, fresh_until=self._clock.seconds() + self._life)


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
    web = web_client.make(config, world)
    service = EfasApi(config.realm, world.clock, web, config.uri, config.cache)
    return asking.make(config, config.accepts, world, service.ask)
