"""The error replies of the OAuth endpoints (RFC 6749 section 5.2): JSON with an error code."""

from __future__ import annotations

from http import HTTPStatus

from authotron.web.replies import NO_STORE, RETRY_AFTER, Header, Reply, json_reply
from authotron.web.routing import EarlyReply

NOT_CACHED: tuple[Header, ...] = (NO_STORE, (b"Pragma", b"no-cache"))
"""Headers of each reply of an OAuth endpoint (RFC 6749 section 5.1)."""

INVALID_REQUEST = "invalid_request"

_CODES = {
    HTTPStatus.BAD_REQUEST: (INVALID_REQUEST, "The request is malformed."),
    HTTPStatus.UNAUTHORIZED: ("invalid_client", "The client is not authenticated."),
    HTTPStatus.FORBIDDEN: ("access_denied", "The credential does not allow this request."),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "temporarily_unavailable",
        "The gateway cannot reach a service that it needs; repeat the request later.",
    ),
}
"""The error code and the description of an error reply, by the status code of the refusal."""

_KEPT = (b"WWW-Authenticate", b"Retry-After")
"""The headers of a refusal that the error reply of an OAuth endpoint repeats."""


def error_reply(code: str, description: str, status: int = 400, *headers: Header) -> Reply:
    """
    Return an error reply of an OAuth endpoint.

    @param description: a sentence for developers of clients, in ASCII without quotes and
        backslashes; it never repeats what the client sent.
    """
    content = {"error": code, "error_description": description}
    return json_reply(status, content, *headers, *NOT_CACHED)


def malformed(description: str) -> EarlyReply:
    """Return the exception that ends a malformed request with an error reply."""
    return EarlyReply(error_reply(INVALID_REQUEST, description))


UNAVAILABLE = error_reply(
    *_CODES[HTTPStatus.SERVICE_UNAVAILABLE], 503, (b"Retry-After", b"%d" % RETRY_AFTER)
)
"""The reply to a client whose request needs a service that is unavailable."""


def as_error(refusal: Reply) -> Reply:
    """
    Return the refusal of a client that is not authenticated, or may not make its request, in the
    form of the OAuth endpoints.
    """
    server_error = ("server_error", "The gateway failed to answer the request.")
    status = HTTPStatus(refusal.status)
    code, description = _CODES.get(status, server_error)
    kept = [each for each in refusal.headers if each[0] in _KEPT]
    return error_reply(code, description, refusal.status, *kept)
