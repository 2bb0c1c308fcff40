"""Tokens of any OAuth server: its introspection endpoint (RFC 7662) is asked about them."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen
from pydantic import Field
from twisted.internet.interfaces import IReactorTime

from authotron.config.section import NonEmptyStr, Seconds, Secret
from authotron.jose import unverified
from authotron.jose.claims import ClaimsConfig, Rules
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import earliest
from authotron.net import http
from authotron.net.http import Url, WebClient
from authotron.net.world import World
from authotron.plugin import remote_provider, token_routing
from authotron.plugin.interfaces import IProvider
from authotron.plugin.remote_provider import AskingConfig


class Config(AskingConfig, ClaimsConfig):
    """`type: introspection`: any bearer token, judged by the server that gave it out."""

    type: Literal["introspection"]
    url: Url = Field(description="address of the introspection endpoint")
    client_id: NonEmptyStr = Field(description="who we are to the server")
    client_secret: Secret = Field(description="the secret of `client_id`")
    cache: Seconds = Field(default=60, description="seconds an answer is believed")
    accepts: token_routing.Rule = Field(default="any", description="which tokens it is asked about")


@frozen
class Introspection:
    """Asks about one token."""

    _clock: IReactorTime
    _web: WebClient
    _url: str
    _client: tuple[str, str] = field(repr=False)
    _rules: Rules
    _life: float

    async def ask(self, token: str) -> Authentication:
        """
        Ask the server whose a token is, unless the token itself says that it is not for access.

        @raise Rejected: it is not active, or not an access token.
        @raise Unavailable: the server does not say.
        """
        seen = unverified.look_into(token)
        header, claims = ({}, {}) if seen is None else (seen.header, seen.claims)
        if self._rules.config.typ is None:
            self._rules.check_type(header, claims)
        answer = await self._web.post(self._url, form={"token": token}, basic=self._client)
        if not answer.good:  # a refusal is about us: one of the token is a good answer
            raise answer.unexpected()
        told = answer.mapping()
        if told.get("active") is not True:
            raise Rejected("not active")
        now = self._clock.seconds()
        self._rules.check_type(header, {**claims, **told})
        found = self._rules.authentication(_claims(told), now, lasting=True)
        return found._replace(fresh_until=earliest(found.expires, now + self._life))


def _claims(told: dict[str, Any]) -> dict[str, Any]:
    """An answer as claims of a token: the user has a name of its own there (section 2.2)."""
    claims = {name: value for name, value in told.items() if name not in {"active", "username"}}
    name = told.get("username")
    if isinstance(name, str) and name:
        claims = {"sub": name, "preferred_username": name, **claims}
    return claims


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its own section."""
    server = Introspection(
        world.clock,
        http.make(config, world),
        config.url,
        (config.client_id, config.client_secret.get_secret_value()),
        Rules(config.name, config.realm, config),
        config.cache,
    )
    takes_any = config.accepts == "any" and "accepts" in config.model_fields_set
    issuer = None if takes_any else config.issuer
    return remote_provider.make(config, config.accepts, world, server.ask, issuer)
