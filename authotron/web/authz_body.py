"""Parse the body of C{POST /authz}: may the bearer of a token do something with a resource?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from attrs import field, frozen

from authotron.model.errors import Problem
from authotron.web import replies
from authotron.web.json_bodies import read_object
from authotron.web.request import Request
from authotron.web.routing import EarlyReply

_REQUIRED = ("token", "resource", "action", "namespace")
_OPTIONAL = ("id", "ip", "audience", "host")

_OTHER_SPELLINGS = {"ID": "id", "IP": "ip"}
"""The spellings of keys that the clients of A3S use, and the usual spelling of each key."""

_MOST_SHOWN = 10
"""Maximum number of mistakes in one request body that an error reply lists."""

_LONGEST_KEY = 64
"""Maximum number of characters of an unknown key that an error message repeats."""

_MOST_CONTAINERS = 64
"""Maximum number of JSON arrays and objects in a request body; a valid body is a single object."""


@frozen
class AuthzQuestion:
    """
    The body of C{POST /authz}, in which all values are strings, as in A3S.

    @ivar token: the credential of the client that wants to make the request, as a bearer token.
    @ivar id: the id of the object that the request is about, or C{None} if the request is not about
        a single object.
    @ivar ip: the address of the client that wants to make the request.
    @ivar audience: the audience that the token must name, or C{None} if the token need not name any
        audience.
    """

    token: str = field(repr=False)
    resource: str
    action: str
    namespace: str
    id: str | None = None
    ip: str | None = None
    audience: str | None = None
    host: str | None = None


def read_question(request: Request) -> AuthzQuestion:
    """
    Parse the body of a request to C{POST /authz}.

    @raise EarlyReply: the body is not a JSON object (400), or a key is missing, unknown or
        duplicate, or its value is of the wrong type (422).
    """
    if request.media_type != "application/json":
        raise EarlyReply(replies.UNSUPPORTED_MEDIA_TYPE)
    given = read_object(request, _MOST_CONTAINERS)
    problems = [*islice(_problems(given), _MOST_SHOWN)]
    if problems:
        raise EarlyReply(replies.unprocessable(problems))
    named = {_OTHER_SPELLINGS.get(key, key): value for key, value in given.items()}
    return AuthzQuestion(**{key: value for key, value in named.items() if value != ""})


def _problems(given: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the mistakes in the keys and the types of values of a C{POST /authz} body."""
    for key in _REQUIRED:
        if given.get(key, "") == "":
            yield Problem(key, "is required")
    for key, value in given.items():
        name = _OTHER_SPELLINGS.get(key, key)
        if name not in _REQUIRED and name not in _OPTIONAL:
            yield Problem(key[:_LONGEST_KEY], "unknown key")
        elif not isinstance(value, str):
            yield Problem(key, "must be a string")
        elif name != key and name in given:
            yield Problem(key, f"is a duplicate: leave out either {key} or {name}")
