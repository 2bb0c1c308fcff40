"""
Decides whether an authenticated client may make a request; only this module checks the conditions
of credentials.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from authotron.model.authentication import Authentication
from authotron.model.errors import UnusableFact
from authotron.model.request import Facts


class Reason(Enum):
    """Why a request is denied although its client was authenticated."""

    CONDITION_FAILED = "the request does not meet a condition of the credential"
    UNUSABLE_FACT = (
        "a condition of the credential depends on data that the request does not contain"
    )


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


def authorize(authentication: Authentication, facts: Facts) -> Ruling:
    """
    Check every condition of C{authentication} against the facts of one request.

    This is a pure function: the result depends on the arguments alone. L{authorize} is called for
    every request whose credential has conditions, also if the decision about the credential is
    cached.
    """
    try:
        for condition in authentication.conditions:
            if not condition.holds(facts):
                return _CONDITION_FAILED
    except UnusableFact as unusable:
        return Deny(Reason.UNUSABLE_FACT, unusable)
    return _ALLOW
