"""The section C{cors}: web pages of other origins, whose preflights the proxy must handle."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from authotron.config.problems import of_key
from authotron.config.section import Section

_ORIGIN = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]{2,39}\])(?::[0-9]{1,5})?"
)
_USUAL_PORT = {"http": ":80", "https": ":443"}


def _origin(text: str) -> str:
    """
    Check that a string is an origin in exactly the form that browsers send (RFC 6454 section 6.1).

    @raise ValueError: no browser sends the string as C{Origin}.
    """
    if not _ORIGIN.fullmatch(text):
        raise ValueError(
            "is not an origin as browsers send it, such as https://app.example.org: scheme and "
            "host in lower case, and no path"
        )
    if text.endswith(_USUAL_PORT[text.partition(":")[0]]):
        raise ValueError("has the usual port of its scheme, which browsers leave out; remove it")
    return text


class Cors(Section):
    """
    Web pages of other origins that may use the service (CORS).

    The gateway itself answers a preflight like any other request: without an identity never with
    200. `authotron proxy-config` writes the section into the configuration of the proxy.
    """

    origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(),
        strict=False,
        description="the origins whose pages may use the service, such as "
        "`https://app.example.org`; the proxy answers their preflights",
    )
    pass_preflights: bool = Field(
        default=False,
        description="whether the proxy passes preflights on to the service, without an identity "
        "and without asking the gateway; for services that answer them",
    )

    @model_validator(mode="after")
    def _check_one(self) -> Cors:
        if self.pass_preflights and self.origins:
            raise of_key("pass_preflights", "is true beside origins; remove one of them")
        return self
