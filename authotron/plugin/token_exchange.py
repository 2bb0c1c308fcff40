"""A lasting token is exchanged for an access token, which tells whose it is."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from pydantic import Field
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.racing import AsyncCall
from authotron.config.plugins import PartConfig
from authotron.config.section import Seconds
from authotron.jose import jwks
from authotron.jose.claims import ClaimsConfig, Rules
from authotron.jose.jwk import ALGORITHMS
from authotron.jose.verifier import Verifier
from authotron.limits.turns import RemoteTurns
from authotron.model.authentication import Authentication
from authotron.model.errors import Unavailable
from authotron.model.identity import Credential, earliest
from authotron.net import http
from authotron.net.http import RemoteConfig, Url, WebClient
from authotron.net.world import World
from authotron.plugin.cache import AuthenticationCache

_EARLY = 10.0
"""Seconds before its end at which an access token is not relied on any more."""


class ExchangeConfig(PartConfig, RemoteConfig, ClaimsConfig):
    """The keys of every provider that exchanges tokens."""

    cert_uri: Url = Field(description="address of the key set that access tokens are checked with")
    cache: Seconds = Field(
        default=60, description="seconds a token is believed without a new check"
    )


@frozen(eq=False)
class AccessTokens:
    """
    Judges lasting tokens by the access tokens they are exchanged for.

    Both answers are remembered: that a token is good for a while, and what it was exchanged for as
    long as the access token lives.
    """

    _clock: IReactorTime
    _verifier: Verifier
    _rules: Rules
    _life: float
    _checked: AuthenticationCache = field(repr=False)
    _exchanged: AuthenticationCache = field(repr=False)
    _turns: RemoteTurns = field(repr=False)

    async def checked(
        self, credential: Credential, check: AsyncCall[Authentication]
    ) -> Authentication:
        """What C{check} says of a lasting token in its client's turn, or said a short while ago."""
        return await self._checked.get(
            credential.value, lambda: self._for_a_while(credential, check)
        )

    async def _for_a_while(
        self, credential: Credential, check: AsyncCall[Authentication]
    ) -> Authentication:
        found = await self._turns.ask(credential.client, credential.value, check)
        until = earliest(found.fresh_until, self._clock.seconds() + self._life)
        return found._replace(fresh_until=until)

    async def exchanged(self, token: str, exchange: AsyncCall[Authentication]) -> Authentication:
        """What C{exchange} makes of a lasting token, or made of it before."""
        return await self._exchanged.get(token, exchange)

    async def authentication(self, told: dict[str, Any], place: str) -> Authentication:
        """
        Who the access token in an answer belongs to, and until shortly before when.

        @raise Rejected: it is not good.
        @raise Unavailable: there is none, or the keys cannot be had.
        """
        token = told.get("access_token")
        if not (isinstance(token, str) and token.isascii()):
            raise Unavailable(f"{place} gave no access token")
        header, claims = await self._verifier.verified(token)
        self._rules.check_type(header, claims)
        found = self._rules.authentication(claims, self._clock.seconds())
        return found._replace(fresh_until=(found.expires or 0) - _EARLY)

    async def check_reachable(self) -> None:
        """
        Fetch the keys if there are none.

        @raise Unavailable: they cannot be had.
        """
        if self._verifier.keys is not None:
            await self._verifier.keys.check_reachable()


def make(config: ExchangeConfig, world: World, web: WebClient) -> AccessTokens:
    """Build the judge of what tokens of a provider are exchanged for."""
    clock = world.clock
    return AccessTokens(
        clock,
        Verifier(ALGORITHMS, jwks.key_set(config, world, web, url=config.cert_uri, issuer="")),
        Rules(config.name, config.realm, config),
        config.cache,
        AuthenticationCache(clock, world.memory // 2),
        AuthenticationCache(clock, world.memory // 2),
        http.turns_of(config, world),
    )
