"""A provider that asks a remote service about each bearer token, and caches accepted tokens."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from attrs import define, field
from pydantic import Field
from zope.interface import implementer

from authotron.config.plugins import ProviderConfig
from authotron.config.section import Seconds
from authotron.jose.claims_config import ClaimsConfig
from authotron.limits.client_turns import ClientTurns
from authotron.model.authentication import Authentication
from authotron.model.identity import Credential, Identity
from authotron.net import http
from authotron.net.http import RemoteConfig
from authotron.net.world import World
from authotron.plugin import token_routing
from authotron.plugin.cache import AuthenticationCache
from authotron.plugin.interfaces import (
    Affinity,
    IDescribesRemote,
    IOfIssuer,
    IProvider,
    IReachable,
)

Ask = Callable[[str], Coroutine[Any, Any, Authentication]]
"""
A function that asks a remote service about a token; the result is cached until
its C{fresh_until}.
"""

Match = Callable[[Credential], Affinity]
"""
A function that returns whether a provider could know a token, judged only by the format of the
token.
"""


class RemoteProviderConfig(ProviderConfig, RemoteConfig):
    """The configuration keys of every provider that asks a remote service."""


class QueryConfig(RemoteProviderConfig):
    """The configuration keys of every provider that sends tokens to a URL with C{?token=}."""

    cache: Seconds = Field(
        default=60, description="seconds for which an accepted credential is not checked again"
    )
    accepts: token_routing.Rule = Field(
        default="opaque", description="which tokens the provider is asked about; `any` for all"
    )


@implementer(IProvider, IOfIssuer)
@define(eq=False)
class RemoteProvider:
    """
    Verifies bearer tokens by asking a remote service, with at most one request at a time for each
    token.
    """

    type: str
    name: str
    realm: str
    _match: Match = field(repr=False)
    _ask: Ask = field(repr=False)
    _known: AuthenticationCache = field(repr=False)
    _turns: ClientTurns = field(repr=False)
    issuer: str | None
    scheme: str = field(default="bearer", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        return self._match(credential)

    async def authenticate(self, credential: Credential) -> Authentication:
        return await self._known.get(credential.value, lambda: self._in_turn(credential))

    async def _in_turn(self, credential: Credential) -> Authentication:
        token = credential.value
        return await self._turns.ask(credential.client, token, lambda: self._ask(token))


@implementer(IDescribesRemote)
@define(eq=False)
class ReachableProvider(RemoteProvider):
    """A provider that asks a remote service whose reachability C{/ready} can check."""

    _remote: IReachable = field(repr=False)

    async def check_reachable(self) -> None:
        await self._remote.check_reachable()

    def describe_remote(self) -> str:
        if not IDescribesRemote.providedBy(self._remote):
            return ""
        return IDescribesRemote(self._remote).describe_remote()


def make(
    config: RemoteProviderConfig,
    world: World,
    match: Match,
    ask: Ask,
    memory: int | None = None,
    remote: IReachable | None = None,
) -> IProvider:
    """
    Build a provider that calls C{ask} for each token that is not in its cache.

    @param memory: the number of bytes that cached tokens may take up; by default all the memory
        that the provider may use.
    @param remote: the object by which C{/ready} checks the remote service, or C{None} for no check.
    """
    known = AuthenticationCache(world.clock, world.memory if memory is None else memory)
    turns = http.make_turns(config, world)
    issuer = config.issuer if isinstance(config, ClaimsConfig) else None
    given = (config.type, config.name, config.realm, match, ask, known, turns, issuer)
    return RemoteProvider(*given) if remote is None else ReachableProvider(*given, remote)


def by_query(
    config: QueryConfig, url: str, world: World, read: Callable[[str, dict[str, Any]], Identity]
) -> IProvider:
    """
    Build a provider that verifies a token by a GET request to C{url} with C{?token=}.

    @param read: a function that converts a realm and the JSON of a response to an identity.
    """
    web = http.make(config, world)

    async def ask(token: str) -> Authentication:
        answer = await web.get(url, {"token": token})
        identity = read(config.realm, http.accepted_content(answer))
        return Authentication(identity, fresh_until=world.clock.seconds() + config.cache)

    return make(config, world, partial(token_routing.match, config.accepts), ask)
