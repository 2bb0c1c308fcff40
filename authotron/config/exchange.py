"""The section C{tokens.exchange}: how long exchanged tokens are valid."""

from __future__ import annotations

from pydantic import Field, model_validator

from authotron.config.problems import of_key
from authotron.config.section import Section, WholeSeconds

_DAY = 86_400


class ExchangeConfig(Section):
    """
    How long exchanged tokens are valid. If this section is present, clients may exchange their
    credentials for narrower ones.
    """

    validity: WholeSeconds = Field(
        default=3600,
        description="lifetime in seconds of an exchanged token for which no lifetime is requested",
    )
    max_validity: WholeSeconds = Field(
        default=30 * _DAY,
        description="maximum lifetime of an exchanged token, in seconds; never longer than the "
        "credential that the client exchanges",
    )

    @model_validator(mode="after")
    def _check_order(self) -> ExchangeConfig:
        if self.validity > self.max_validity:
            raise of_key("validity", "is longer than max_validity")
        return self
