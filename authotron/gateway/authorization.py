"""Decides whether an authenticated client may make a request; no other module checks conditions."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from authotron.model.authentication import Authentication
from authotron.model.errors import MissingContext
from authotron.model.request import RequestContext


class Reason(Enum):
    """Why a request is denied although its client was authenticated."""

    CONDITION_FAILED = "the request does not meet a condition of the credential"
    MISSING_CONTEXT = (
        "a condition of the credential depends on data that the request does not contain"
    )


@frozen
class Allow:
    """The decision that the client may make the request."""


@frozen
class Deny:
    """The decision that a request is forbidden."""

    reason: Reason


Ruling = Allow | Deny

_ALLOW = Allow()
_CONDITION_FAILED = Deny(Reason.CONDITION_FAILED)
_MISSING_CONTEXT = Deny(Reason.MISSING_CONTEXT)


def authorize(authentication: Authentication, context: RequestContext) -> Ruling:
    """
    Check every condition of C{authentication} against the requested host and the client address of
    one request.

    A pure function: the result depends on the arguments alone. L{authorize} is called for every
    request whose credential has conditions, also if the decision about the credential is cached.
    """
    try:
        for condition in authentication.conditions:
            if not condition.holds(context):
                return _CONDITION_FAILED
    except MissingContext:
        return _MISSING_CONTEXT
    return _ALLOW
