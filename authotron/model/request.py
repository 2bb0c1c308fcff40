"""The facts of a request on which a condition may depend."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen


@frozen
class RequestContext:
    """The facts of a request, beside its credentials, on which a condition may depend."""

    host: str | None = None
    address: str | None = None


class Condition(Protocol):
    """A limit that depends on the request and not on the credential."""

    def holds(self, context: RequestContext, /) -> bool:
        """
        Whether a request with this context may pass.

        @raise MissingContext: the limit depends on a fact that the request does not state.
        """
