"""The credentials in a request, and the data of a request on which a condition may depend."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from attrs import frozen


class Presented(NamedTuple):
    """
    The headers by which a client proves its identity: raw values, or C{None} for a missing header.

    A new way to present a credential, such as a cookie, would become a new field of this class.
    Never log an object of this class, because it contains the credential in plain text.

    @ivar authorization: the value of the first header C{Authorization}.
    @ivar realm: the value of the first header C{X-Auth-Realm}, the realm whose providers are asked.
    """

    authorization: bytes | None = None
    realm: bytes | None = None

    def __repr__(self) -> str:
        return "Presented(...)"


class RequestContext(Protocol):
    """
    The data of a request on which a condition may depend; credentials are not among this data.

    A condition should read only the data that it needs, because the fast path parses a header only
    when a condition reads data from it.
    """

    @property
    def host(self) -> str | None:
        """
        The requested host, perhaps with a port, or C{None} if no trusted proxy
        forwards the host.
        """

    @property
    def address(self) -> str | None:
        """The address of the client, or C{None} if a trusted proxy does not forward the address."""


@frozen
class RequestFacts:
    """The data of a request that conditions may depend on, as plain values."""

    host: str | None = None
    address: str | None = None


class Condition(Protocol):
    """A limit of an API token that depends on the request, such as the requested host."""

    def holds(self, context: RequestContext, /) -> bool:
        """
        Return whether a request with the requested host and client address in C{context} meets the
        condition.

        @raise MissingContext: the condition depends on data that the request does not contain.
        """
