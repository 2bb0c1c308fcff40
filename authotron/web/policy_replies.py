"""The replies to clients that the policies do not allow to make their requests."""

from __future__ import annotations

import json
import re

from authotron.policy.explanation import Explanation
from authotron.policy.reasons import Reason
from authotron.policy.requirements import Requirement
from authotron.policy.ruling import Ruling
from authotron.web.replies import NO_STORE, Reply, bytes_reply, json_reply, outage

REASON = b"X-Auth-Reason"
"""The header of a refusal with its reason, a word of L{Reason}."""

STEP_UP = "insufficient_user_authentication"
"""
The error code of a Bearer challenge that asks the client for a stronger or more recent login (RFC
9470 section 3).
"""

_LOGIN = "The policy allows this request only after a stronger or more recent login."

_PROBLEM = "application/problem+json"
_JSON = frozenset({"application/json", _PROBLEM})

_NO_WEIGHT = re.compile(r"q=0(\.0{0,3})?")

_DETAILS = {
    Reason.DENIED: "A rule of the policy denies this request.",
    Reason.NO_RULE: "No rule of the policy allows this request.",
    Reason.NETWORK: "The policy does not allow this request from the network of the client.",
    Reason.TIME: "The policy does not allow this request at this time.",
    Reason.CONDITION: "The policy allows this request only under a condition, which is not met.",
    Reason.LOGIN: _LOGIN,
    Reason.NAMESPACE: "The namespace of the request is malformed.",
    Reason.RESTRICTED: "The credential does not allow this request.",
    Reason.AUTHORIZER: "The authorizer does not allow this request.",
}
"""For each reason of a refusal a sentence for people."""


AUTHORIZER_UNAVAILABLE = outage("Authorization is temporarily unavailable")
"""The body of the 503 reply to a request for which the authorizer is unavailable."""


def _plain(reason: Reason) -> Reply:
    header = (REASON, reason.value.encode())
    body = json.dumps({"error": "Forbidden"}).encode()
    return bytes_reply(403, "application/json", body, header, NO_STORE)


def _problem(reason: Reason) -> Reply:
    """Return the body of a refusal as problem details (RFC 9457)."""
    content = {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "detail": _DETAILS[reason],
        "reason": reason.value,
    }
    header = (REASON, reason.value.encode())
    return bytes_reply(403, _PROBLEM, json.dumps(content).encode(), header, NO_STORE)


def refused(ruling: Ruling, accept: str) -> Reply:
    """
    Return the refusal of a request that the policies do not allow: a 401 if a stronger or more
    recent login would help, or else a 403.
    """
    required = ruling.required
    return forbidden(ruling.reason, accept) if required is None else _step_up(required, accept)


def _step_up(required: Requirement, accept: str) -> Reply:
    """
    Return the 401 to a client that needs a stronger or more recent login (RFC 9470 section 3).

    @param accept: the header C{Accept} of the client; if it names JSON, the body has problem
        details.
    """
    wanted = required.parameters()
    parameters = {"error": STEP_UP, "error_description": _LOGIN, **wanted}
    challenge = "Bearer " + ", ".join(f'{key}="{value}"' for key, value in parameters.items())
    reason = Reason.LOGIN.value
    headers = ((b"WWW-Authenticate", challenge.encode()), (REASON, reason.encode()), NO_STORE)
    if not _names_json(accept):
        return json_reply(401, {"error": "Unauthorized access"}, *headers)
    about = {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": _LOGIN}
    body = json.dumps({**about, "reason": reason, **wanted}).encode()
    return bytes_reply(401, _PROBLEM, body, *headers)


_REPLIES = {reason: (_plain(reason), _problem(reason)) for reason in _DETAILS}


def forbidden(reason: Reason, accept: str) -> Reply:
    """
    Return the 403 to a client whose request the policies do not allow.

    @param accept: the header C{Accept} of the client; if it names JSON, the body has problem
        details.
    """
    return _REPLIES[reason][_names_json(accept)]


def _names_json(accept: str) -> bool:
    """Return whether a list of media types names JSON (RFC 9110 section 12.5.1)."""
    return any(map(_is_accepted_json, accept.split(",")))


def _is_accepted_json(element: str) -> bool:
    """Return whether an element of a list of media types is JSON with a weight above zero."""
    name, *parameters = element.replace(" ", "").lower().split(";")
    return name in _JSON and not any(map(_NO_WEIGHT.fullmatch, parameters))


def explained(explanation: Explanation) -> Reply:
    """Return the reply with the explanation of a ruling: 200 if it allows the request, else 403."""
    body = json.dumps(explanation.as_json()).encode()
    ruling = explanation.ruling
    if ruling.allows:
        return bytes_reply(200, "application/json", body, NO_STORE)
    header = (REASON, ruling.reason.value.encode())
    return bytes_reply(403, "application/json", body, header, NO_STORE)
