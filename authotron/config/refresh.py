"""The section C{tokens.refresh}: how long refresh tokens are valid."""

from __future__ import annotations

from pydantic import Field, model_validator

from authotron.config.problems import of_key
from authotron.config.section import Section, WholeSeconds

_DAY = 86_400


class RefreshConfig(Section):
    """
    How long refresh tokens are valid. If this section is present, clients that exchange their
    credentials may request a refresh token, too.
    """

    idle: WholeSeconds = Field(
        default=14 * _DAY,
        description="seconds after which a refresh token expires that was not used",
    )
    absolute: WholeSeconds = Field(
        default=90 * _DAY,
        description="seconds after which the user has to log in again, however often the refresh "
        "token was used",
    )

    @model_validator(mode="after")
    def _check_order(self) -> RefreshConfig:
        if self.idle > self.absolute:
            raise of_key("idle", "is longer than absolute")
        return self
