"""Verify bearer tokens by the introspection endpoint (RFC 7662) of an OAuth server."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from attrs import field, frozen
from pydantic import Field
from twisted.internet.interfaces import IReactorTime

from authotron.config.section import NonEmptyStr, Seconds, Secret
from authotron.jose import unverified
from authotron.jose.claims import ClaimRules
from authotron.jose.claims_config import ClaimsConfig
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Credential, earliest
from authotron.net import http
from authotron.net.urls import Url
from authotron.net.world import World
from authotron.plugin import remote_provider, token_routing
from authotron.plugin.interfaces import Affinity, IProvider
from authotron.plugin.oauth_client import Method, OAuthClient
from authotron.plugin.remote_provider import RemoteProviderConfig


class Config(RemoteProviderConfig, ClaimsConfig):
    """`type: introspection`: bearer tokens of an OAuth server with an introspection endpoint."""

    type: Literal["introspection"]
    url: Url = Field(description="URL of the introspection endpoint")
    client_id: NonEmptyStr = Field(description="client id of the gateway at the server")
    client_secret: Secret = Field(description="the secret of `client_id`")
    client_auth: Method = Field(
        default="basic",
        description="how `client_id` and `client_secret` are sent: `basic` encodes them as a form "
        "does (RFC 6749), `basic-raw` sends them unchanged, `post` puts them into the form",
    )
    cache: Seconds = Field(
        default=60, description="seconds for which an accepted credential is not checked again"
    )
    accepts: token_routing.Rule = Field(
        default="any", description="which tokens the provider is asked about"
    )


@frozen
class Introspection:
    """Asks the introspection endpoint of an OAuth server about tokens."""

    _clock: IReactorTime
    _client: OAuthClient = field(repr=False)
    _url: str
    _rules: ClaimRules
    _life: float

    async def ask(self, token: str) -> Authentication:
        """
        Ask the OAuth server for the user of a token, unless the token itself says that it is not an
        access token.

        @raise Rejected: the token is not active, or not an access token.
        @raise Unavailable: the response is not a valid introspection response.
        """
        seen = unverified.parse(token)
        header, claims = ({}, {}) if seen is None else (seen.header, seen.claims)
        if self._rules.config.typ is None:
            self._rules.check_type(header, claims)
        answer = await self._client.post(self._url, {"token": token}, repeatable=True)
        if not answer.is_success:
            raise self._client.refused(answer)
        response = answer.json_object()
        if "active" not in response:
            raise Unavailable(f"{answer.place} did not answer with `active` (RFC 7662)")
        if response["active"] is not True:
            raise Rejected("the token is not active")
        now = self._clock.seconds()
        self._rules.check_type(header, {**claims, **response})
        found = self._rules.authentication(_claims(response), now, lasting=True)
        return found._replace(fresh_until=earliest(found.expires, now + self._life))


def _claims(response: dict[str, Any]) -> dict[str, Any]:
    """
    Convert an introspection response to claims, where C{username} is the user name (RFC 7662
    section 2.2).
    """
    claims = {name: value for name, value in response.items() if name not in {"active", "username"}}
    name = response.get("username")
    if isinstance(name, str) and name:
        claims = {"sub": name, "preferred_username": name, **claims}
    return claims


def _match(rule: token_routing.Rule, issuer: str | None, credential: Credential) -> Affinity:
    """
    Return how likely the provider knows a token; a JWT of another issuer than the configured one is
    C{FOREIGN}.
    """
    if issuer is not None:
        seen = unverified.parse_once(credential)
        if seen is not None and seen.issuer not in (None, issuer):
            return Affinity.FOREIGN
    return token_routing.match(rule, credential)


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    server = Introspection(
        world.clock,
        OAuthClient(
            http.make(config, world),
            config.client_id,
            config.client_secret.get_secret_value(),
            (config.client_auth,),
        ),
        config.url,
        ClaimRules(config.name, config.realm, config),
        config.cache,
    )
    takes_any = config.accepts == "any" and "accepts" in config.model_fields_set
    issuer = None if takes_any else config.issuer
    match = partial(_match, config.accepts, issuer)
    return remote_provider.make(config, world, match, server.ask)
