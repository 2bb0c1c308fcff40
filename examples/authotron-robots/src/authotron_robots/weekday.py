"""The augmenter `weekday`: a role from Monday to Friday, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from attrs import define, field
from pydantic import Field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.plugin import Addition, AugmenterConfig, IAugmenter, Identity, NonEmptyStr, World

API_VERSION = 1  # of the plugin interface that this module is written for

DAY = 86_400
SATURDAY = 5


class Config(AugmenterConfig):
    """`type: weekday`: a role from Monday to Friday."""

    type: Literal["weekday"]
    role: NonEmptyStr = Field(description="the role")


@implementer(IAugmenter)
@define(eq=False)
class Weekday:
    """Adds a role on working days; each answer is valid until midnight."""

    name: str
    realm: str
    required: bool
    timeout: float | None
    _role: str
    _clock: IReactorTime
    type: str = field(default="weekday", init=False)
    runs_last: bool = field(default=False, init=False)

    def augment(self, identity: Identity) -> Addition:
        now = self._clock.seconds()
        is_working_day = datetime.fromtimestamp(now, UTC).weekday() < SATURDAY
        midnight = now - now % DAY + DAY
        return Addition((self._role,) if is_working_day else (), fresh_until=midnight)


def make(config: Config, world: World) -> IAugmenter:
    """Build the augmenter from its section of the configuration."""
    return Weekday(
        config.name, config.realm, config.required, config.timeout, config.role, world.clock
    )
