"""
The possible results of authenticating a request, and for each result the decision about the
request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import define, field

from authotron.model.authentication import Authentication

if TYPE_CHECKING:  # imported only if policies are configured
    from authotron.gateway.policy import PolicyAccess

R = TypeVar("R")
"""The type of replies to a proxy; the package C{web} makes the replies."""

ADMITTED = 200
"""The only status code that lets a request pass, whichever proxy asks."""

SUCCESS = "success"
NO_HEADER = "no_auth_header"
BAD_HEADER = "invalid_header"
REFUSED = "all_failed"
UNAVAILABLE = "unavailable"
FORBIDDEN = "forbidden"
BROKEN = "error"
REFUSALS = (NO_HEADER, BAD_HEADER, REFUSED)
INVALID_TOKEN, INSUFFICIENT_SCOPE = TOKEN_ERRORS = ("invalid_token", "insufficient_scope")
"""Errors of refused Bearer tokens (RFC 6750 section 3.1)."""

INVALID_UNDER_DPOP = "invalid_token of DPoP"
"""The error of a refused token under the scheme C{DPoP} (RFC 9449 section 7.1)."""

RESULTS = (SUCCESS, *REFUSALS, FORBIDDEN, UNAVAILABLE, BROKEN)
"""All results of authentication; the label C{result} of the metric C{auth_requests_total}."""


@define
class Outcome:
    """
    The result of authenticating a request.

    Do not change an outcome after it was created, although the class does not prevent it. The class
    is neither frozen nor a tuple, because an outcome is made for each request whose decision is not
    cached: making a frozen object takes twice as long, and reading a field of a tuple takes longer.

    @ivar result: one of L{RESULTS}.
    @ivar authentication: the authentication is C{None} unless the result is
        L{SUCCESS}.
    @ivar error: why a Bearer token was refused, by RFC 6750 section 3.1; else empty.
    """

    result: str
    authentication: Authentication | None = None
    error: str = ""

    @property
    def realm(self) -> str:
        """The realm of the identity, or C{unknown} if there is no identity."""
        found = self.authentication
        return "unknown" if found is None else found.identity.realm


@define
class Decision(Generic[R]):
    """
    An outcome of authentication, with the reply that the proxy gets for this outcome.

    Decisions are cached and shared, so they must not be changed.

    @ivar access: the object that says what the policies allow to the client, if policies are
        configured; it is applied to each request.
    @ivar is_unconditional: whether the reply does not depend on the request, because neither the
        credential has conditions nor policies are configured.
    """

    outcome: Outcome
    reply: R = field(repr=False)
    access: PolicyAccess | None = field(default=None, repr=False)
    is_unconditional: bool = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        found = self.outcome.authentication
        self.is_unconditional = found is None or not (found.conditions or self.access is not None)
