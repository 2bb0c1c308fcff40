"""Outcomes become replies: the only place that knows status codes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any

from attrs import define, field, frozen
from klein import Response

from authotron.gateway import decisions
from authotron.gateway.decisions import Outcome
from authotron.jose.minter import described
from authotron.model.errors import Problem
from authotron.model.identity import Identity

RETRY_AFTER = 5
"""Seconds after which asking again may help."""

_MOST_PROBLEMS = 10
_LONGEST_PROBLEM = 300
"""Problems that an answer names, and characters of each."""

_WITHOUT_WIRE = 128
"""Bytes of a reply in memory without what goes on the wire."""

NO_STORE = (b"Cache-Control", b"no-store")
_ADMITTED = b"Authorization: Bearer %b\r\n%bCache-Control: no-store\r\nContent-Length: 0\r\n\r\n"
"""What goes on the wire with a token and, before the last headers, lines with further ones."""

Header = tuple[bytes, bytes]


@define
class Reply:
    """
    A status, headers and a body, kept as they go on the wire: there may be very many of them.

    Not frozen, which it is in all but name, as L{Outcome} is.

    @ivar wire: the headers, the empty line after them, and the body.
    @ivar length: bytes of the body.
    """

    status: int
    wire: bytes = field(repr=False)
    length: int

    def __sizeof__(self) -> int:
        """Bytes of the reply with what goes on the wire, for memories with a budget of these."""
        return _WITHOUT_WIRE + len(self.wire)

    @property
    def fields(self) -> bytes:
        """All but the body."""
        return self.wire[: len(self.wire) - self.length]

    @property
    def body(self) -> bytes:
        return self.wire[len(self.wire) - self.length :]

    @property
    def headers(self) -> tuple[Header, ...]:
        """Names and values, without the length of the body."""
        *lines, _length, _, _ = self.fields.split(b"\r\n")
        pairs = (line.partition(b": ") for line in lines)
        return tuple((name, value) for name, _, value in pairs)

    def response(self) -> Response:
        """The same for Klein."""
        headers: dict[str | bytes, str | bytes | Sequence[str | bytes]] = dict(self.headers)
        if self.status != HTTPStatus.NO_CONTENT:  # RFC 9110 section 8.6
            headers[b"Content-Length"] = b"%d" % self.length
        return Response(self.status, headers, self.body)


def _reply(status: int, headers: Iterable[Header] = (), body: bytes = b"") -> Reply:
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    return Reply(status, b"".join([_lines(headers), length, body]), len(body))


def _lines(headers: Iterable[Header]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def json_reply(status: int, content: Any, *headers: Header) -> Reply:
    """A reply whose body is JSON."""
    body = json.dumps(content).encode()
    return _reply(status, ((b"Content-Type", b"application/json"), *headers), body)


def text_reply(content_type: str, body: bytes, *headers: Header) -> Reply:
    """A reply that is no JSON."""
    return _reply(200, ((b"Content-Type", content_type.encode()), *headers), body)


def _outage(what: str) -> Reply:
    """It passes, so when to come again is said."""
    return json_reply(503, {"error": what}, (b"Retry-After", b"%d" % RETRY_AFTER), NO_STORE)


REVOKED = _reply(204, (NO_STORE,))
HEALTHY = text_reply("text/plain; charset=utf-8", b"OK")
UNAVAILABLE = _outage("Authentication is temporarily unavailable")
STORE_DISABLED = json_reply(503, {"error": "Token store is disabled"}, NO_STORE)
STORE_UNAVAILABLE = _outage("The token store is temporarily unavailable")
FORBIDDEN = json_reply(403, {"error": "Forbidden"}, NO_STORE)
BROKEN = json_reply(500, {"error": "Internal error"}, NO_STORE)
BAD_REQUEST = json_reply(400, {"error": "Bad request"})
MISSING_CONTEXT = json_reply(
    400, {"error": "Cannot determine the requested host or client"}, NO_STORE
)
UNSUPPORTED_MEDIA_TYPE = json_reply(415, {"error": "The body must be application/json"})
NO_SUCH_TOKEN = json_reply(404, {"error": "There is no such token"}, NO_STORE)
NOT_FOUND = json_reply(404, {"error": "Not found"})


def method_not_allowed(allowed: Sequence[str]) -> Reply:
    """The reply to a method that a path does not have (RFC 9110 section 15.5.6)."""
    names = ", ".join(sorted(allowed)).encode()
    return json_reply(405, {"error": "Method not allowed"}, (b"Allow", names))


def malformed(problems: Iterable[Problem]) -> Reply:
    """The reply to a request whose query or body is not as it should be."""
    content = {"error": "Bad request", "problems": _first(problems)}
    return json_reply(400, content, NO_STORE)


def too_broad(problems: Iterable[Problem]) -> Reply:
    """The reply to who wants more than is allowed."""
    content = {"error": "Forbidden", "problems": _first(problems)}
    return json_reply(403, content, NO_STORE)


def _first(problems: Iterable[Problem]) -> list[str]:
    """The first problems, cut to a bounded length: a client may send thousands of mistakes."""
    return [str(problem)[:_LONGEST_PROBLEM] for problem in islice(problems, _MOST_PROBLEMS)]


def created(content: Any, location: str) -> Reply:
    """The reply when something new is to be found at C{location}."""
    return json_reply(201, content, (b"Location", location.encode()), NO_STORE)


def shown(content: Any, *headers: Header) -> Reply:
    """Something that anybody may see."""
    return json_reply(200, content, *headers)


def readiness(content: Any, *, ready: bool) -> Reply:
    """Whether more requests are welcome, for those who send them here."""
    return json_reply(200 if ready else 503, content)


def private(content: Any) -> Reply:
    """Something that concerns one client alone."""
    return json_reply(200, content, NO_STORE)


def private_json(body: bytes) -> Reply:
    """The reply with content for its owner alone, whose JSON was encoded in pieces."""
    return _reply(200, ((b"Content-Type", b"application/json"), NO_STORE), body)


@frozen
class Replies:
    """
    What one configuration answers to the outcomes of authentication.

    @ivar challenge: the value of C{WWW-Authenticate}.
    @ivar legacy: whether to send the older identity headers, too.
    """

    challenge: str
    legacy: bool = False

    def authenticate(self, outcome: Outcome, token: str | None) -> Reply:
        """The reply of C{/authenticate}. A 200 has no body: nginx keeps its connection then."""
        if outcome.authentication is not None and token is not None:
            legacy = _lines(_legacy(outcome.authentication.identity)) if self.legacy else b""
            return Reply(200, _ADMITTED % (token.encode(), legacy), 0)
        if outcome.result == decisions.UNAVAILABLE:
            return UNAVAILABLE
        if outcome.result == decisions.FORBIDDEN:
            return FORBIDDEN
        return self.refused() if outcome.result in decisions.REFUSALS else BROKEN

    def refused(self) -> Reply:
        """The same to everybody who did not get in, whatever the reason."""
        challenge = (b"WWW-Authenticate", field_value(self.challenge))
        return json_reply(401, {"error": "Unauthorized access"}, challenge, NO_STORE)


def whoami(identity: Identity) -> Reply:
    """An identity as it is shown to its owner."""
    return json_reply(200, {"version": 1, **described(identity)}, NO_STORE)


def _legacy(identity: Identity) -> tuple[Header, ...]:
    """
    All three, always: a header that is absent would let the client's own through a proxy.

    A comma separates roles, so one inside a role is percent-encoded, and with it the percent sign.
    """
    roles = ",".join(role.replace("%", "%25").replace(",", "%2C") for role in identity.roles)
    return (
        (b"X-Auth-Username", _unaltered(identity.username)),
        (b"X-Auth-Realm", _unaltered(identity.realm)),
        (b"X-Auth-Roles", _unaltered(roles)),
    )


def _unaltered(text: str) -> bytes:
    """
    Encode a name as the value of a header, letter for letter.

    @raise ValueError: a header cannot hold it; the gate for identities lets no such name through.
    """
    value = text.encode()
    if not text.isprintable() and field_value(text) != value:
        raise ValueError("a name that a header cannot hold")
    return value


def field_value(text: str) -> bytes:
    """A header's value: UTF-8 without control characters, of which only the tab is allowed."""
    return "".join(c for c in text if c == "\t" or not _controls(c)).encode("utf-8", "replace")


def _controls(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029"
