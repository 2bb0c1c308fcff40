"""What providers are that ask a remote about each token, and believe its answer for a while."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field
from zope.interface import implementer

from authotron import routing
from authotron.cache import Identities
from authotron.identity import Credential, Identity
from authotron.parts import PartConfig
from authotron.providers import Affinity, IProvider
from authotron.world import World

Ask = Callable[[str], Coroutine[Any, Any, Identity]]
"""Finds out whose a token is, and until when that may be believed."""


@implementer(IProvider)
@define(eq=False)
class Asking:
    """Judges bearer tokens by asking."""

    type: str
    name: str
    realm: str
    _accepts: routing.Rule
    _ask: Ask = field(repr=False)
    _known: Identities = field(repr=False)
    scheme: str = field(default="bearer", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        return routing.likeness(self._accepts, credential.value)

    async def authenticate(self, credential: Credential) -> Identity:
        return await self._known.get(credential.value, lambda: self._ask(credential.value))


def make(config: PartConfig, accepts: routing.Rule, world: World, ask: Ask) -> IProvider:
    """Build a provider from its own section, and from how it asks."""
    known = Identities(world.clock)
    return Asking(config.type, config.name, config.realm, accepts, ask, known)
