"""Build the replies to HTTP requests: status code, headers and body."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any

from attrs import define, field, frozen
from klein import Response

from authotron.gateway import outcomes
from authotron.gateway.authorization import Deny, Reason
from authotron.gateway.outcomes import Outcome
from authotron.jose.minter import identity_as_json
from authotron.model.errors import Problem
from authotron.model.field_values import field_value
from authotron.model.identity import Identity
from authotron.plugin import header_profiles
from authotron.plugin.header_profiles import Profile

RETRY_AFTER = 5
"""
Seconds after which a client may repeat a request that failed because of an outage, sent as
C{Retry-After}.
"""

_MAX_PROBLEMS = 10
_LONGEST_PROBLEM = 300
"""
Maximum number of problems that a reply lists, and maximum number of
characters of each problem.
"""

_WITHOUT_WIRE = 128
"""Estimated bytes that a reply takes up in memory in addition to its headers and body."""

OPENING = 100
"""
Number of bytes of those lines of a head that a L{Reply} does not contain: status line, C{Server},
C{Date} and C{Connection} take 92.
"""

NO_STORE = (b"Cache-Control", b"no-store")
_BEARER = b"Authorization: Bearer "
_ADMITTED = b"Authorization: Bearer %b\r\n%bCache-Control: no-store\r\nContent-Length: 0\r\n\r\n"
"""
Format of the headers of a 200 reply of C{/authenticate}, into which the JWT and further header
lines are inserted.
"""

Header = tuple[bytes, bytes]


@define
class Reply:
    """
    An HTTP reply: a status code, and headers and body, which are stored as the bytes to send, to
    save memory.

    Replies never change; the class is not frozen, because creating an object of a frozen class is
    slower.

    @ivar wire: the header lines, the empty line and the body, as bytes to send.
    @ivar length: the number of bytes in the body.
    """

    status: int
    wire: bytes = field(repr=False)
    length: int

    def __sizeof__(self) -> int:
        """Return how many bytes the reply takes up in memory, for caches with a budget in bytes."""
        return _WITHOUT_WIRE + len(self.wire)

    @property
    def fields(self) -> bytes:
        """The header lines and the empty line of the reply, without the body."""
        return self.wire[: len(self.wire) - self.length]

    @property
    def body(self) -> bytes:
        return self.wire[len(self.wire) - self.length :]

    @property
    def headers(self) -> tuple[Header, ...]:
        """The names and values of the headers of the reply, without C{Content-Length}."""
        *lines, _length, _, _ = self.fields.split(b"\r\n")
        pairs = (line.partition(b": ") for line in lines)
        return tuple((name, value) for name, _, value in pairs)

    def response(self) -> Response:
        """Convert the reply to the response object that Klein expects."""
        headers: dict[str | bytes, str | bytes | Sequence[str | bytes]] = dict(self.headers)
        # RFC 9110 section 8.6: a 204 reply must not have the header Content-Length, and in a 304
        # reply this header would state the length of the 200 reply.
        if self.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            headers[b"Content-Length"] = b"%d" % self.length
        return Response(self.status, headers, self.body)


@define
class VariedReply(Reply):
    """
    A 200 of a gateway whose contracts have several header profiles.

    @ivar others: the same 200 in other header profiles, by the name of the profile.
    """

    others: Mapping[str, Reply] = field(repr=False)

    def __sizeof__(self) -> int:
        others = sum(map(sys.getsizeof, (self.others, *self.others.values())))
        return _WITHOUT_WIRE + len(self.wire) + others


def _reply(status: int, headers: Iterable[Header] = (), body: bytes = b"") -> Reply:
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    return Reply(status, b"".join([_lines(headers), length, body]), len(body))


def _lines(headers: Iterable[Header]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def json_reply(status: int, content: Any, *headers: Header) -> Reply:
    """Build a reply whose body is JSON."""
    body = json.dumps(content).encode()
    return _reply(status, ((b"Content-Type", b"application/json"), *headers), body)


def text_reply(content_type: str, body: bytes, *headers: Header) -> Reply:
    """Build a reply of another content type than JSON."""
    return bytes_reply(200, content_type, body, *headers)


def bytes_reply(status: int, content_type: str, body: bytes, *headers: Header) -> Reply:
    """Build a reply from a body that is encoded already."""
    return _reply(status, ((b"Content-Type", content_type.encode()), *headers), body)


def page_reply(status: int, body: bytes, *headers: Header) -> Reply:
    """Build a reply whose body is HTML."""
    return _reply(status, ((b"Content-Type", b"text/html; charset=utf-8"), *headers), body)


def outage(message: str) -> Reply:
    """Build a 503 for a temporary failure, with C{Retry-After}."""
    return json_reply(503, {"error": message}, (b"Retry-After", b"%d" % RETRY_AFTER), NO_STORE)


REVOKED = ALLOWED = _reply(204, (NO_STORE,))
HEALTHY = text_reply("text/plain; charset=utf-8", b"OK")
UNAVAILABLE = outage("Authentication is temporarily unavailable")
STORE_DISABLED = json_reply(503, {"error": "Token store is disabled"}, NO_STORE)
STORE_UNAVAILABLE = outage("The token store is temporarily unavailable")
FORBIDDEN = json_reply(403, {"error": "Forbidden"}, NO_STORE)
BROKEN = json_reply(500, {"error": "Internal error"}, NO_STORE)
TOO_LARGE = json_reply(403, {"error": "The identity is too large for the proxy"}, NO_STORE)
BAD_REQUEST = json_reply(400, {"error": "Bad request"})
UNUSABLE_FACT = json_reply(
    400, {"error": "Cannot determine the requested host or client"}, NO_STORE
)
UNSUPPORTED_MEDIA_TYPE = json_reply(415, {"error": "The body must be application/json"})
NO_SUCH_TOKEN = json_reply(404, {"error": "There is no such token"}, NO_STORE)
NOT_FOUND = json_reply(404, {"error": "Not found"})


def challenged(challenge: str) -> Reply:
    """Build the 401 reply to a client whose token is not accepted, with a challenge of its own."""
    header = (b"WWW-Authenticate", challenge.encode("ascii"))
    return json_reply(401, {"error": "Unauthorized access"}, header, NO_STORE)


WRONG_CERTIFICATE = challenged(
    'Bearer error="invalid_token", error_description="the token is bound to another certificate"'
)


def denied(ruling: Deny) -> Reply:
    """Return the reply to an authenticated client whose credential does not allow the request."""
    return UNUSABLE_FACT if ruling.reason is Reason.UNUSABLE_FACT else FORBIDDEN


def method_not_allowed(allowed: Sequence[str]) -> Reply:
    """
    Build the 405 reply to a request whose method the route does not support (RFC 9110 section
    15.5.6).
    """
    names = ", ".join(sorted(allowed)).encode()
    return json_reply(405, {"error": "Method not allowed"}, (b"Allow", names))


def malformed(problems: Iterable[Problem]) -> Reply:
    """Build the 400 reply to a request whose query or body is malformed."""
    content = {"error": "Bad request", "problems": _first(problems)}
    return json_reply(400, content, NO_STORE)


def unprocessable(problems: Iterable[Problem]) -> Reply:
    """Build the 422 reply to a request whose body is JSON without the required keys and types."""
    content = {"error": "Unprocessable content", "problems": _first(problems)}
    return json_reply(422, content, NO_STORE)


def may_not_ask(why: str) -> Reply:
    """Build the 403 reply to a client that asks a question about policies that it may not ask."""
    return json_reply(403, {"error": "Forbidden", "problems": [why]}, NO_STORE)


def bad_token(refusal: Reply) -> Reply:
    """
    Build the 401 reply to an authenticated client that presents an invalid token of another client.

    @param refusal: the reply that a request with the stated token would get; its challenge is
        repeated.
    """
    challenges = [each for each in refusal.headers if each[0] == b"WWW-Authenticate"]
    return json_reply(401, {"error": "The token is not valid"}, *challenges, NO_STORE)


def exceeds_grant(problems: Iterable[Problem]) -> Reply:
    """Build the 403 reply to a request for API tokens that is not allowed, with its problems."""
    content = {"error": "Forbidden", "problems": _first(problems)}
    return json_reply(403, content, NO_STORE)


def _first(problems: Iterable[Problem]) -> list[str]:
    """
    Return the descriptions of the first 10 problems of a request, each cut to a maximum length,
    because a request may contain thousands of mistakes.
    """
    return [str(problem)[:_LONGEST_PROBLEM] for problem in islice(problems, _MAX_PROBLEMS)]


def created_json(content: Any, location: str) -> Reply:
    """Build the 201 reply to a request that created a resource at the path C{location}."""
    return json_reply(201, content, (b"Location", location.encode()), NO_STORE)


def public_json(content: Any, *headers: Header) -> Reply:
    """Build a 200 reply whose JSON is not secret and may be cached."""
    return json_reply(200, content, *headers)


def readiness(content: Any, *, ready: bool) -> Reply:
    """Build the reply of C{/ready}: 200 if the gateway accepts further requests, or else 503."""
    return json_reply(200 if ready else 503, content)


def private_json(content: Any) -> Reply:
    """Build a 200 reply whose JSON is for one client only, and must not be cached."""
    return json_reply(200, content, NO_STORE)


def tagged_json(body: bytes, tag: str) -> Reply:
    """
    Build a 200 reply from encoded JSON, which only the client itself may cache. The client must
    check each time whether the entity tag is still current (RFC 9111 section 5.2.2.4).
    """
    return _reply(200, ((b"Content-Type", b"application/json"), *_tagged(tag)), body)


def not_modified(tag: str) -> Reply:
    """Build the 304 reply to a client that has the reply with this entity tag already."""
    return _reply(304, _tagged(tag))


def _tagged(tag: str) -> tuple[Header, ...]:
    return ((b"ETag", tag.encode()), (b"Cache-Control", b"private, no-cache"), _VARY)


_VARY = (b"Vary", b"Authorization, Cookie, X-Auth-Realm")
"""
The header C{Vary} of replies that clients may cache: such a reply depends on the credential of the
client.
"""


def encoded_json(body: bytes) -> Reply:
    """
    Build a 200 reply for one client only, which must not be cached, from JSON that is already
    encoded.
    """
    return _reply(200, ((b"Content-Type", b"application/json"), NO_STORE), body)


@frozen
class Replies:
    """
    Builds the replies to authenticated and unauthenticated requests, with the settings of one
    configuration.

    @ivar challenge: the value of the header C{WWW-Authenticate}.
    @ivar error_challenges: the values of C{WWW-Authenticate} for errors of Bearer tokens; if they
        are missing, each error is a 401 with C{challenge}.
    @ivar profile: the headers in which a 200 names the identity, in addition to the JWT.
    @ivar others: the header profiles of the contracts that have a profile of their own.
    """

    challenge: str
    profile: Profile = header_profiles.JWT
    error_challenges: Mapping[str, str] = field(factory=dict)
    others: Sequence[Profile] = ()

    def authenticate(self, outcome: Outcome, token: str | None) -> Reply:
        """
        Build the reply of C{/authenticate}; a 200 reply has no body, so that nginx keeps the
        connection open.
        """
        if outcome.authentication is not None and token is not None:
            identity = outcome.authentication.identity
            if not self.others:
                return _admitted(self.profile, identity, token)
            others = {each.name: _admitted(each, identity, token) for each in self.others}
            return VariedReply(200, _admitted(self.profile, identity, token).wire, 0, others)
        if outcome.result == outcomes.UNAVAILABLE:
            return UNAVAILABLE
        if outcome.result == outcomes.FORBIDDEN:
            return FORBIDDEN
        return self._refused(outcome.error) if outcome.result in outcomes.REFUSALS else BROKEN

    def _refused(self, error: str) -> Reply:
        """
        Build the 401 reply, which does not depend on the reason, so that it reveals nothing to an
        attacker.

        If error challenges are configured, a refused Bearer token gets a 401 that names the error,
        and a missing scope a 403 (RFC 6750 section 3.1).
        """
        challenge = self.error_challenges.get(error)
        header = (b"WWW-Authenticate", field_value(challenge or self.challenge))
        if challenge and error == outcomes.INSUFFICIENT_SCOPE:
            return json_reply(403, {"error": "Forbidden"}, header, NO_STORE)
        return json_reply(401, {"error": "Unauthorized access"}, header, NO_STORE)


def _admitted(profile: Profile, identity: Identity, token: str) -> Reply:
    fields = _lines(profile.fields(identity, token)) if profile.headers else b""
    return Reply(200, _ADMITTED % (token.encode(), fields), 0)


def minted_jwt(reply: Reply) -> str | None:
    """
    Return the JWT that a 200 of C{/authenticate} contains, or C{None} for any other reply.

    A cached decision keeps the JWT only once, among the bytes of its reply.
    """
    if not reply.wire.startswith(_BEARER):
        return None
    return reply.wire[len(_BEARER) : reply.wire.index(b"\r\n")].decode()


def with_header(reply: Reply, header: Header) -> Reply:
    """Return a copy of a reply with one more header."""
    return Reply(reply.status, _lines([header]) + reply.wire, reply.length)


def with_error_headers(reply: Reply, status: int) -> Reply:
    """
    Return a refusal under another status; the refusal states its own status and body in headers,
    for proxies that pass on neither. A body that is not one line of ASCII is left out.
    """
    is_line = reply.body.isascii() and reply.body.decode("ascii").isprintable()
    body = reply.body if is_line else b""
    own = (b"X-Error-Status", b"%d" % reply.status), (b"X-Error-Body", body)
    return Reply(status, _lines(own) + reply.wire, reply.length)


def whoami(identity: Identity) -> Reply:
    """Build the reply of C{/whoami}."""
    return json_reply(200, {"version": 1, **identity_as_json(identity)}, NO_STORE)
