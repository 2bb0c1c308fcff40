"""The facts of a request on which a condition may depend."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen


@frozen
class RequestContext:
    """What a request says beside its credentials, as far as a condition may ask."""

    host: str | None = None
    address: str | None = None


class Condition(Protocol):
    """A limit that depends on the request and not on the credential."""

    def holds(self, circumstances: RequestContext, /) -> bool:
        """
        Whether a request made like this may pass.

        @raise Unstated: it depends on what the request does not say.
        """
