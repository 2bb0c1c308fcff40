"""Add roles and attributes to users with certain names or roles."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from attrs import define, evolve, field
from pydantic import Field
from zope.interface import implementer

from authotron.config.plugins import AugmenterConfig
from authotron.config.section import PossibleNames, Section, warn_of_roles
from authotron.model.identity import NOTHING_NEW, Addition, Identity
from authotron.net.world import World
from authotron.plugin.interfaces import IAugmenter


class Match(Section):
    """An identity matches if its user name or one of its roles is listed in this section."""

    username: PossibleNames = Field(default=(), strict=False, description="user names")
    role: PossibleNames = Field(
        default=(),
        strict=False,
        description="roles given by the provider or by an earlier augmenter",
    )


class Augment(Section):
    """The roles and attributes that matching identities get."""

    roles: PossibleNames = Field(default=(), strict=False, description="roles to add")
    attributes: dict[str, str] = Field(
        default_factory=dict,
        description="attributes to add; they replace earlier ones of the same name",
    )


class Config(AugmenterConfig):
    """`type: plain_advanced`: roles and attributes for identities that match."""

    type: Literal["plain_advanced"]
    match: Match = Field(
        description="the identities that match; if no user name and no role is listed, none matches"
    )
    augment: Augment = Field(description="the roles and attributes that matching identities get")

    def warnings(self) -> tuple[str, ...]:
        """Warn of roles that the gateway ignores."""
        return tuple(warn_of_roles(self.augment.roles, "augment"))


@implementer(IAugmenter)
@define(eq=False)
class PlainAdvanced:
    """Adds roles and attributes to identities that match; a role is never added twice."""

    name: str
    realm: str
    required: bool
    timeout: float | None
    _usernames: frozenset[str]
    _roles: frozenset[str]
    _given: Addition
    type: str = field(default="plain_advanced", init=False)
    runs_last: bool = field(default=True, init=False)
    _given_roles: frozenset[str] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._given_roles = frozenset(self._given.roles)

    def augment(self, identity: Identity) -> Addition:
        roles = identity.roles
        if identity.username not in self._usernames and self._roles.isdisjoint(roles):
            return NOTHING_NEW
        given = self._given
        if self._given_roles.isdisjoint(roles):
            return given
        return evolve(given, roles=tuple(r for r in given.roles if r not in roles))


def make(config: Config, world: World) -> IAugmenter:
    """Build the augmenter from its section of the configuration."""
    return PlainAdvanced(
        config.name,
        config.realm,
        config.required,
        config.timeout,
        frozenset(config.match.username),
        frozenset(config.match.role),
        # A read-only mapping cannot change, so it needs to be checked only once.
        Addition(
            tuple(dict.fromkeys(config.augment.roles)), MappingProxyType(config.augment.attributes)
        ),
    )
