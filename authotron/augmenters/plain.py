"""Add roles by user name; deprecated, use C{plain_advanced}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import define, field
from pydantic import Field
from zope.interface import implementer

from authotron.config.plugins import AugmenterConfig
from authotron.config.section import PossibleName, PossibleNames, warn_of_roles
from authotron.model.identity import NOTHING_NEW, Addition, Identity
from authotron.net.world import World
from authotron.plugin.interfaces import IAugmenter


class Config(AugmenterConfig):
    """`type: plain`: roles by user name. Deprecated; use `plain_advanced`."""

    type: Literal["plain"]
    roles: dict[PossibleName, PossibleNames] = Field(
        description="for each role the names of the users that get it"
    )

    def warnings(self) -> tuple[str, ...]:
        """Warn that C{type: plain} is deprecated, and of roles that the gateway ignores."""
        deprecated = "type plain is deprecated and will be removed; use plain_advanced"
        return (deprecated, *warn_of_roles(self.roles, "the section"))


@implementer(IAugmenter)
@define(eq=False)
class PlainAugmenter:
    """Adds roles by user name."""

    name: str
    realm: str
    required: bool
    timeout: float | None
    _roles_of: Mapping[str, Addition]
    type: str = field(default="plain", init=False)
    runs_last: bool = field(default=False, init=False)

    def augment(self, identity: Identity) -> Addition:
        return self._roles_of.get(identity.username, NOTHING_NEW)


def make(config: Config, world: World) -> IAugmenter:
    """Build the augmenter from its section of the configuration."""
    roles_of: dict[str, tuple[str, ...]] = {}
    for role, users in config.roles.items():
        for user in dict.fromkeys(users):
            roles_of[user] = (*roles_of.get(user, ()), role)
    additions = {user: Addition(roles) for user, roles in roles_of.items()}
    return PlainAugmenter(config.name, config.realm, config.required, config.timeout, additions)
