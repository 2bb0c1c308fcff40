"""The section C{revocation} of the configuration."""

from __future__ import annotations

from pydantic import Field

from authotron.config.section import Seconds, Section


class RevocationConfig(Section):
    """
    The section `revocation`, which switches on the revocation of tokens and of owners; it needs a
    token store.
    """

    max_age: Seconds = Field(
        default=300,
        description="seconds for which a gateway that cannot reach the token store goes on with "
        "the revocations that it knows, before it answers 503; 0: at once",
    )
