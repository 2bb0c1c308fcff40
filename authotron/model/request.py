"""What a request presents to prove who sends it, and the facts on which a condition may depend."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from attrs import frozen


class Presented(NamedTuple):
    """
    What a client presents to prove who it is: raw values of header fields, C{None} if missing.

    A further way to present a credential, such as a cookie, is a further field. Never log it: it
    contains the credential in clear.

    @ivar authorization: the first C{Authorization}.
    @ivar realm: the first C{X-Auth-Realm}: only providers of this realm are asked.
    """

    authorization: bytes | None = None
    realm: bytes | None = None

    def __repr__(self) -> str:
        return "Presented(...)"


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
