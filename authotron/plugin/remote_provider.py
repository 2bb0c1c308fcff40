"""What providers are that ask a remote about each token, and believe its answer for a while."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field
from pydantic import Field
from zope.interface import implementer

from authotron.config.plugins import PartConfig
from authotron.config.section import Seconds
from authotron.jose import unverified
from authotron.limits.turns import RemoteTurns
from authotron.model.authentication import Authentication
from authotron.model.identity import Credential, Identity
from authotron.net import http
from authotron.net.http import RemoteConfig
from authotron.net.world import World
from authotron.plugin import token_routing
from authotron.plugin.cache import AuthenticationCache
from authotron.plugin.interfaces import Affinity, IProvider

Ask = Callable[[str], Coroutine[Any, Any, Authentication]]
"""Finds out whose a token is, and until when that may be believed."""


class AskingConfig(PartConfig, RemoteConfig):
    """The keys of every provider that asks a remote."""


class QueryConfig(AskingConfig):
    """The keys of every provider that asks an address with C{?token=}."""

    cache: Seconds = Field(default=60, description="seconds an answer is believed")
    accepts: token_routing.Rule = Field(
        default="opaque", description="which tokens it is asked about; `any` for all of them"
    )


@implementer(IProvider)
@define(eq=False)
class RemoteProvider:
    """Judges bearer tokens by asking."""

    type: str
    name: str
    realm: str
    _accepts: token_routing.Rule
    _ask: Ask = field(repr=False)
    _known: AuthenticationCache = field(repr=False)
    _turns: RemoteTurns = field(repr=False)
    _issuer: str | None = None
    scheme: str = field(default="bearer", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        """A JWT that names another issuer than the one whose tokens are accepted is foreign."""
        if self._issuer is None:
            return token_routing.likeness(self._accepts, credential)
        seen = unverified.seen(credential)
        if seen is not None and seen.issuer not in (None, self._issuer):
            return Affinity.FOREIGN
        return token_routing.likeness(self._accepts, credential)

    async def authenticate(self, credential: Credential) -> Authentication:
        return await self._known.get(credential.value, lambda: self._in_turn(credential))

    async def _in_turn(self, credential: Credential) -> Authentication:
        token = credential.value
        return await self._turns.ask(credential.client, token, lambda: self._ask(token))


def make(
    config: AskingConfig,
    accepts: token_routing.Rule,
    world: World,
    ask: Ask,
    issuer: str | None = None,
) -> IProvider:
    """
    Build a provider from its own section, and from how it asks.

    @param issuer: the only one whose JWTs are asked about; C{None} for any.
    """
    known = AuthenticationCache(world.clock, world.memory)
    turns = http.turns_of(config, world)
    return RemoteProvider(
        config.type, config.name, config.realm, accepts, ask, known, turns, issuer
    )


def by_query(
    config: QueryConfig, url: str, world: World, read: Callable[[str, dict[str, Any]], Identity]
) -> IProvider:
    """
    Build a provider that asks C{url} with C{?token=}.

    @param read: makes an identity, of the realm given first, of what the service tells.
    """
    web = http.make(config, world)

    async def ask(token: str) -> Authentication:
        answer = await web.get(url, {"token": token})
        identity = read(config.realm, http.judged(answer))
        return Authentication(identity, fresh_until=world.clock.seconds() + config.cache)

    return make(config, config.accepts, world, ask)
