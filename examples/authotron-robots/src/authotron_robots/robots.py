"""The provider `robots`: each robot has a key, which it sends as a bearer token."""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest
from typing import Literal

from attrs import define, field
from pydantic import Field
from zope.interface import implementer

from authotron.plugin import (
    Affinity,
    Authentication,
    Credential,
    Identity,
    IProvider,
    NonEmptyStr,
    NonEmptyStrs,
    ProviderConfig,
    Rejected,
    Secret,
    Section,
    World,
    digest,
)

API_VERSION = 1  # of the plugin interface that this module is written for


class Robot(Section):
    """A robot that may pass."""

    name: NonEmptyStr = Field(description="user name of the robot")
    key: Secret = Field(description="key that the robot sends as a bearer token")
    roles: NonEmptyStrs = Field(default=(), description="roles of the robot")


class Config(ProviderConfig):
    """`type: robots`: robots, and the keys that they send as bearer tokens."""

    type: Literal["robots"]
    robots: tuple[Robot, ...] = Field(strict=False, description="the robots that may pass")


@implementer(IProvider)
@define(eq=False)
class Robots:
    """Compares a bearer token with the keys of all robots."""

    name: str
    realm: str
    _robots: Sequence[Robot] = field(repr=False)
    type: str = field(default="robots", init=False)
    scheme: str = field(default="bearer", init=False)
    local: bool = field(default=True, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.POSSIBLE

    def authenticate(self, credential: Credential) -> Authentication:
        found, given = None, digest(credential.value)
        for robot in self._robots:  # compare all keys: the time shows nothing about them
            if compare_digest(digest(robot.key.get_secret_value()), given):
                found = robot
        if found is None:
            raise Rejected("no robot has this key")
        return Authentication(Identity(self.realm, found.name, found.roles))


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    return Robots(config.name, config.realm, config.robots)
