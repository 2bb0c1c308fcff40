"""Verify tokens of the ECMWF token generator by validating and exchanging them there."""

from __future__ import annotations

from typing import Literal

from attrs import define, field
from pydantic import Field
from zope.interface import implementer

from authotron.config.section import NonEmptyStr, Secret
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Credential
from authotron.net import http
from authotron.net.http import Url, WebClient
from authotron.net.world import World
from authotron.plugin import token_exchange, token_routing
from authotron.plugin.interfaces import Affinity, IProvider, IReachable
from authotron.plugin.token_exchange import AccessTokens, ExchangeConfig


class Config(ExchangeConfig):
    """`type: ecmwf-token-generator`: tokens that the ECMWF token generator issued."""

    type: Literal["ecmwf-token-generator"]
    client_id: NonEmptyStr = Field(description="client id of the gateway at the generator")
    client_secret: Secret = Field(description="the secret of `client_id`")
    token_generator_url: Url = Field(description="base URL of the generator")
    accepts: token_routing.Rule = Field(
        default="any", description="which tokens the provider is asked about"
    )


@implementer(IProvider, IReachable)
@define(eq=False)
class EcmwfTokenGenerator:
    """Judges tokens by asking, and by what they are exchanged for."""

    name: str
    realm: str
    _web: WebClient = field(repr=False)
    _access_tokens: AccessTokens = field(repr=False)
    _url: str
    _client_id: str
    _client_secret: str = field(repr=False)
    _accepts: token_routing.Rule
    type: str = field(default="ecmwf-token-generator", init=False)
    scheme: str = field(default="bearer", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        return token_routing.likeness(self._accepts, credential)

    async def authenticate(self, credential: Credential) -> Authentication:
        token = credential.value
        return await self._access_tokens.checked(credential, lambda: self._judge(token))

    async def _judge(self, token: str) -> Authentication:
        await self._validate(token)
        return await self._access_tokens.exchanged(token, lambda: self._exchange(token))

    async def _validate(self, token: str) -> None:
        url = http.below(self._url, "validate-token")
        content = {"token": token, "client_id": self._client_id}
        answer = await self._web.post(url, content=content)
        if http.judged(answer).get("active") is not True:
            raise Rejected("the generator says that the token is not active")

    async def _exchange(self, token: str) -> Authentication:
        url = http.below(self._url, "admin", "refresh-access-token")
        content = {
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "refresh_token": token,
        }
        answer = await self._web.post(url, content=content)
        if answer.status == 400:  # noqa: PLR2004 - other statuses may mean a wrong client secret
            raise Rejected("the generator does not exchange the token")
        if not answer.good:
            raise answer.unexpected()
        return await self._access_tokens.authentication(answer.mapping(), answer.place)

    async def check_reachable(self) -> None:
        await self._access_tokens.check_reachable()


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    web = http.make(config, world)
    return EcmwfTokenGenerator(
        config.name,
        config.realm,
        web,
        token_exchange.make(config, world, web),
        config.token_generator_url,
        config.client_id,
        config.client_secret.get_secret_value(),
        config.accepts,
    )
