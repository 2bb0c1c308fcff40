"""
Shared code of the providers that exchange a long-lived token for an access token that names the
user.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from pydantic import Field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.concurrency.racing import AsyncCall
from authotron.config.section import Seconds
from authotron.jose import jwks
from authotron.jose.claims import ClaimRules
from authotron.jose.claims_config import ClaimsConfig
from authotron.jose.jwk import ALGORITHMS
from authotron.jose.verifier import Verifier
from authotron.model.authentication import Authentication
from authotron.model.errors import Unavailable
from authotron.model.identity import earliest
from authotron.net.http import WebClient
from authotron.net.urls import Url
from authotron.net.world import World
from authotron.plugin import remote_provider
from authotron.plugin.cache import AuthenticationCache
from authotron.plugin.interfaces import IDescribesRemote, IProvider
from authotron.plugin.remote_provider import Ask, Match, RemoteProviderConfig

_EARLY = 10.0
"""
Number of seconds before the expiry of an access token from which on the token is not
used any more.
"""


class ExchangeConfig(RemoteProviderConfig, ClaimsConfig):
    """The configuration keys of every provider that exchanges tokens."""

    cert_uri: Url = Field(description="URL of the key set that verifies access tokens")
    cache: Seconds = Field(
        default=60, description="seconds for which an accepted credential is not checked again"
    )


@implementer(IDescribesRemote)
@frozen(eq=False)
class AccessTokens:
    """
    Verifies access tokens that a provider gets for long-lived tokens.

    The result of exchanging a token is cached until the access token expires.
    """

    _clock: IReactorTime
    _verifier: Verifier
    _rules: ClaimRules
    _life: float
    _exchanged: AuthenticationCache = field(repr=False)

    async def cached_exchange(
        self, token: str, exchange: AsyncCall[Authentication]
    ) -> Authentication:
        """
        Return the cached result of exchanging this long-lived token, or else
        exchange the token.
        """
        return await self._exchanged.get(token, exchange)

    def until_next_check(self, found: Authentication) -> Authentication:
        """
        Let the cached result for a token be used for at most C{cache} seconds, until the token is
        checked again.
        """
        until = earliest(found.fresh_until, self._clock.seconds() + self._life)
        return found._replace(fresh_until=until)

    async def authentication(self, answer: dict[str, Any], place: str) -> Authentication:
        """
        Verify the access token in a response, and return the authentication of its user.

        @raise Rejected: the access token is not valid.
        @raise Unavailable: the response contains no access token, or the keys to verify it cannot
            be fetched.
        """
        token = answer.get("access_token")
        if not (isinstance(token, str) and token.isascii()):
            raise Unavailable(f"the response of {place} contains no access token")
        header, claims = await self._verifier.verify(token)
        self._rules.check_type(header, claims)
        found = self._rules.authentication(claims, self._clock.seconds())
        return found._replace(fresh_until=(found.expires or 0) - _EARLY)

    async def check_reachable(self) -> None:
        """
        Fetch the keys that verify access tokens, unless they were fetched before.

        @raise Unavailable: the keys cannot be fetched.
        """
        if self._verifier.keys is not None:
            await self._verifier.keys.check_reachable()

    def describe_remote(self) -> str:
        """Describe the keys that verify access tokens, for C{authotron doctor}."""
        return self._verifier.describe_keys()


def make(config: ExchangeConfig, world: World, web: WebClient) -> AccessTokens:
    """Build the verifier of the access tokens of one provider."""
    clock = world.clock
    return AccessTokens(
        clock,
        Verifier(ALGORITHMS, jwks.key_set(config, world, web, url=config.cert_uri, issuer="")),
        ClaimRules(config.name, config.realm, config),
        config.cache,
        AuthenticationCache(clock, world.memory // 2),
    )


def provider(
    config: ExchangeConfig, world: World, match: Match, ask: Ask, access_tokens: AccessTokens
) -> IProvider:
    """
    Build a provider whose function C{ask} exchanges tokens; each of its two caches gets half of the
    memory.
    """
    return remote_provider.make(
        config, world, match, ask, memory=world.memory // 2, remote=access_tokens
    )
