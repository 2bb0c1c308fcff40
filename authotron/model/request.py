"""The facts of a request on which a condition may depend."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen


class RequestContext(Protocol):
    """
    The facts of a request beside its credentials, as far as a condition may depend on them.

    A condition should ask for the facts that it needs and for no others: the fast path reads a
    header only when its fact is asked for.
    """

    @property
    def host(self) -> str | None:
        """The requested host, perhaps with a port; C{None} if no trusted proxy states it."""

    @property
    def address(self) -> str | None:
        """The address of the client; C{None} if a trusted proxy does not state it."""


@frozen
class RequestFacts:
    """A request context whose facts are known."""

    host: str | None = None
    address: str | None = None


class Condition(Protocol):
    """A limit that depends on the request and not on the credential."""

    def holds(self, context: RequestContext, /) -> bool:
        """
        Return whether a request with these facts may pass.

        @raise MissingContext: the condition depends on a fact that the request does not state.
        """
