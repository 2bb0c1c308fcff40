"""Tokens of the ECMWF Web API: its who-am-i service is asked whose they are."""

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
    """`type: ecmwf-api`: ask the ECMWF Web API who a token belongs to."""

    type: Literal["ecmwf-api"]
    uri: Url = Field(description="address of the API; `/who-am-i?token=` is asked below it")
    cache: Seconds = Field(default=60, description="seconds an answer is believed")
    accepts: routing.Rule = Field(
        default="opaque", description="which tokens it is asked about; `any` for all of them"
    )


@frozen
class EcmwfApi:
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
    """Of all that the service tells only name and mail are kept."""
    uid, email = told.get("uid"), told.get("email")
    if not (isinstance(uid, str) and uid):
        raise Unavailable("the service did not say who it is")
    return Identity(realm, uid, attributes={"ecmwf-email": email} if isinstance(email, str) else {})


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its own section."""
    web = web_client.make(config, world)
    service = EcmwfApi(
        config.realm, world.clock, web, web_client.below(config.uri, "who-am-i"), config.cache
    )
    return asking.make(config, config.accepts, world, service.ask)
