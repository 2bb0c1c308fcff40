"""
The section C{page} of the configuration: what the web pages for people say about the
operator.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from authotron.config.section import NonEmptyStr, Section

_LINK = re.compile(r"(?:https?://[^\s/?#][^\s]*|mailto:[^\s]+@[^\s]+|/(?!/)[^\s]*)")


def _check_link(text: str) -> str:
    if _LINK.fullmatch(text) is None:
        raise ValueError("must be a URL with http or https, a mailto: address, or a path with /")
    return text


Link = Annotated[str, AfterValidator(_check_link)]
"""
The target of a link, whose scheme must be one of a few, because a link with C{javascript:} would
run code in the page.
"""


class Page(Section):
    """The web pages for people: the home page, and the page that comes with a 401."""

    title: NonEmptyStr = Field(default="authotron", description="the title of the home page")
    contact: NonEmptyStr | None = Field(
        default=None,
        description="whom users ask for help: an e-mail address, a URL, or any text",
    )
    links: dict[NonEmptyStr, Link] = Field(
        default_factory=dict,
        description="links of the home page, by their texts: URLs, or paths that begin with /",
    )

    @property
    def contact_link(self) -> str | None:
        """
        The target of a link to the operator's contact, or C{None} if the contact is
        plain text.
        """
        contact = self.contact or ""
        if re.fullmatch(r"[^\s@/:]+@[^\s@/:]+", contact):
            return f"mailto:{contact}"
        return contact if re.fullmatch(r"https?://\S+", contact) else None
