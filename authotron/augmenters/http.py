"""Add roles and attributes that the operator's own HTTP service returns."""

from __future__ import annotations

import json
from typing import Any, Literal

from attrs import define, field
from pydantic import Field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.config.plugins import AugmenterConfig
from authotron.config.section import Seconds
from authotron.model.identity import Addition, Identity
from authotron.net.world import World
from authotron.plugin import http_contract
from authotron.plugin.cache import LookupCache, addition_bytes
from authotron.plugin.http_contract import ResponseReader, Service, ServiceConfig
from authotron.plugin.interfaces import IAugmenter

_NOT_FOUND = 404


class Config(AugmenterConfig, ServiceConfig):
    """`type: http`: your own service returns roles and attributes; see docs/providers.md."""

    type: Literal["http"]
    cache: Seconds = Field(
        default=60,
        gt=0,
        description="seconds for which a response is used without asking the service again",
    )

    def warnings(self) -> tuple[str, ...]:
        """List the warnings about the connection to the operator's HTTP service."""
        return ServiceConfig.warnings(self)


@implementer(IAugmenter)
@define(eq=False)
class Http:
    """Asks an HTTP service for the roles of a user; sends the identity, never the credential."""

    name: str
    realm: str
    required: bool
    timeout: float | None
    _clock: IReactorTime
    _service: Service = field(repr=False)
    _life: float
    _cache: LookupCache[Addition] = field(repr=False)
    _reader: ResponseReader = field(repr=False)
    type: str = field(default="http", init=False)
    runs_last: bool = field(default=False, init=False)

    async def augment(self, identity: Identity) -> Addition:
        content = {
            "realm": identity.realm,
            "username": identity.username,
            "roles": identity.roles,
            "attributes": dict(identity.attributes),
        }
        key = json.dumps(content, sort_keys=True)
        return await self._cache.get(key, lambda: self._ask(content), identity.username)

    async def _ask(self, content: dict[str, Any]) -> Addition:
        answer = await self._service.post(content)
        until = self._clock.seconds() + self._life
        if answer.status == _NOT_FOUND:
            return Addition(fresh_until=until)
        if not answer.is_success:
            raise answer.unexpected_status()
        grants = self._reader.read_grants(answer.json_object())
        return Addition(grants.roles, grants.attributes, until)


def make(config: Config, world: World) -> IAugmenter:
    """Build the augmenter from its section of the configuration."""
    return Http(
        config.name,
        config.realm,
        config.required,
        config.timeout,
        world.clock,
        http_contract.make(config, world),
        config.cache,
        LookupCache(world.clock, world.memory, addition_bytes),
        ResponseReader(config.name),
    )
