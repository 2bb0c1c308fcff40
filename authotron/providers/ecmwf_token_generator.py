"""
A provider that lets the ECMWF token generator validate its tokens, and exchange them for access
tokens.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from attrs import field, frozen
from pydantic import Field

from authotron.config.section import NonEmptyStr, Secret
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.net import http, urls
from authotron.net.http import WebClient
from authotron.net.urls import Url
from authotron.net.world import World
from authotron.plugin import token_exchange, token_routing
from authotron.plugin.interfaces import IProvider
from authotron.plugin.token_exchange import AccessTokens, ExchangeConfig


class Config(ExchangeConfig):
    """`type: ecmwf-token-generator`: tokens that the ECMWF token generator issued."""

    type: Literal["ecmwf-token-generator"]
    client_id: NonEmptyStr = Field(description="client id of the gateway at the token generator")
    client_secret: Secret = Field(description="the secret of `client_id`")
    token_generator_url: Url = Field(description="base URL of the token generator")
    accepts: token_routing.Rule = Field(
        default="any", description="which tokens the provider is asked about"
    )


@frozen(eq=False)
class TokenGenerator:
    """
    Asks the ECMWF token generator about tokens, and verifies the access tokens that it returns for
    them.
    """

    _web: WebClient
    _access_tokens: AccessTokens
    _url: str
    _client_id: str
    _client_secret: str = field(repr=False)

    async def ask(self, token: str) -> Authentication:
        """
        Validate a token, and exchange it for an access token unless one is cached.

        @raise Rejected: the generator refuses the token, or the access token is not valid.
        @raise Unavailable: the generator does not answer.
        """
        await self._validate(token)
        found = await self._access_tokens.cached_exchange(token, lambda: self._exchange(token))
        return self._access_tokens.until_next_check(found)

    async def _validate(self, token: str) -> None:
        url = urls.join_url(self._url, "validate-token")
        content = {"token": token, "client_id": self._client_id}
        answer = await self._web.post(url, content=content, repeatable=True)
        if http.accepted_content(answer).get("active") is not True:
            raise Rejected("the token generator says that the token is not active")

    async def _exchange(self, token: str) -> Authentication:
        url = urls.join_url(self._url, "admin", "refresh-access-token")
        content = {
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "refresh_token": token,
        }
        answer = await self._web.post(url, content=content)
        if answer.status == 400:  # noqa: PLR2004 - other statuses may mean a wrong client secret
            raise Rejected("the token generator does not exchange the token")
        if not answer.is_success:
            raise answer.unexpected_status()
        return await self._access_tokens.authentication(answer.json_object(), answer.place)


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    web = http.make(config, world)
    access_tokens = token_exchange.make(config, world, web)
    generator = TokenGenerator(
        web,
        access_tokens,
        config.token_generator_url,
        config.client_id,
        config.client_secret.get_secret_value(),
    )
    match = partial(token_routing.match, config.accepts)
    return token_exchange.provider(config, world, match, generator.ask, access_tokens)
