"""
Decides whether an authenticated client may make a request; only this module checks the conditions
of credentials.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from authotron.model.authentication import Authentication
from authotron.model.binding import Unproven
from authotron.model.errors import UnusableFact
from authotron.model.request import Condition, Facts

if TYPE_CHECKING:  # imported at run time only if policies are configured
    from authotron.policy.rules import Asked


class Reason(Enum):
    """Why a request is denied although its client was authenticated."""

    CONDITION_FAILED = "the request does not meet a condition of the credential"
    UNUSABLE_FACT = (
        "a condition of the credential depends on data that the request does not contain"
    )
    UNPROVEN = "the client does not use the certificate to which its token is bound"


@frozen
class Allow:
    """The decision that the client may make its request."""


@frozen
class Deny:
    """
    The decision that the client's request is forbidden.

    @ivar unusable: the fact of the request that cannot be used, if a condition depends on such a
        fact.
    """

    reason: Reason
    unusable: UnusableFact | None = None

    @property
    def text(self) -> str:
        """The reason for logs, with the fact of the request that cannot be used."""
        return self.reason.value + (f": {self.unusable}" if self.unusable else "")


Ruling = Allow | Deny

_ALLOW = Allow()
_CONDITION_FAILED = Deny(Reason.CONDITION_FAILED)
_UNPROVEN = Deny(Reason.UNPROVEN)


def authorize(
    authentication: Authentication, facts: Facts, *, is_to_gateway: bool = False
) -> Ruling:
    """
    Check every condition of C{authentication} against the facts of one request.

    This is a pure function: the result depends on the arguments alone. L{authorize} is called for
    every request whose credential has conditions, also if the decision about the credential is
    cached.

    @param is_to_gateway: whether the request is to the gateway itself, and not to a service behind
        a proxy; conditions about services, such as permissions, do not apply to such requests.

    @raise ProofNeeded: the token is bound to a key, and the proof of this request was not verified
        yet (L{authotron.gateway.bound_tokens}).
    """
    return _checked(authentication, facts, _holds_at_gateway if is_to_gateway else _holds)


def authorize_stated(authentication: Authentication, asked: Asked, facts: Facts) -> Ruling:
    """
    Check every condition of C{authentication} against a request about which a client asks the
    gateway.

    @param asked: the request in the form that rules read; its resource may be a name, and it may
        have an id.
    @param facts: the facts of the request, for conditions that do not read the form of rules.
    """

    def holds(condition: Condition, facts: Facts) -> bool:
        own = getattr(condition, "holds_for", None)
        return condition.holds(facts) if own is None else bool(own(asked, facts))

    return _checked(authentication, facts, holds)


def _checked(
    authentication: Authentication, facts: Facts, holds: Callable[[Condition, Facts], bool]
) -> Ruling:
    try:
        for condition in authentication.conditions:
            if not holds(condition, facts):
                return _CONDITION_FAILED
    except UnusableFact as unusable:
        return Deny(Reason.UNUSABLE_FACT, unusable)
    except Unproven:
        return _UNPROVEN
    return _ALLOW


def _holds(condition: Condition, facts: Facts) -> bool:
    return condition.holds(facts)


def _holds_at_gateway(condition: Condition, facts: Facts) -> bool:
    own = getattr(condition, "holds_at_gateway", None)
    return condition.holds(facts) if own is None else bool(own(facts))
