"""Parse the bodies and queries of requests about API tokens, and convert API tokens to JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from authotron.config.section import Section, WholeSeconds, read
from authotron.config.server import Network
from authotron.model import strict_json
from authotron.model.binding import from_confirmation
from authotron.model.errors import ConfigError, Problem
from authotron.model.hosts import check_host_pattern
from authotron.model.naming import normalize
from authotron.model.token import PREFIX, Token
from authotron.tokens.grants import TokenRequest
from authotron.tokens.size import MAX_BYTES
from authotron.web import replies
from authotron.web.request import Request
from authotron.web.routing import EarlyReply

_S = TypeVar("_S", bound=Section)

_MAX_CONTAINERS = MAX_BYTES
"""
Maximum number of JSON arrays and objects in a request body; a larger number would not fit into an
API token.
"""

_MAX_ENTRIES = 100
"""Maximum number of entries in one JSON array or object in a request body."""

_MAX_SCOPES = 256
"""Maximum number of entries in all arrays of one JSON object in a request body together."""

_MAX_SHOWN = 64
"""Maximum number of characters of an unknown key that an error message repeats."""

_MAX_LIMIT = 1000
"""The highest value of the parameter C{limit} in a query for API tokens."""

_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

_LONGEST_HOST = 262
"""
Maximum number of characters of a host pattern: a name of 253 characters, with a wildcard and a
port.
"""

Word = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256, pattern=_PRINTABLE),
    AfterValidator(normalize),
]
Line = Annotated[str, StringConstraints(max_length=256, pattern=_PRINTABLE)]
Words = Annotated[tuple[Word, ...], Field(strict=False, max_length=_MAX_ENTRIES)]
Scopes = Annotated[dict[Word, Words], Field(max_length=_MAX_ENTRIES)]
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^([^\x00-\x20\x7f@]+@[^\x00-\x20\x7f@]+)?$")
]
Host = Annotated[
    str, StringConstraints(max_length=_LONGEST_HOST), AfterValidator(check_host_pattern)
]


def _confirmation(value: dict[str, str]) -> dict[str, str]:
    return from_confirmation(value).confirmation


Confirmation = Annotated[dict[str, str], AfterValidator(_confirmation)]
"""The key or the certificate to which a new token is bound, as in the claim C{cnf}."""


class NewToken(Section):
    """The request body of C{POST /tokens}."""

    name: Line = ""
    comment: Line = ""
    email: Email = ""
    ttl: WholeSeconds | None = None
    roles: Words | None = None
    scopes: Scopes | None = None
    hosts: tuple[Host, ...] = Field(default=(), strict=False, max_length=_MAX_ENTRIES)
    networks: tuple[Network, ...] = Field(default=(), strict=False, max_length=_MAX_ENTRIES)
    cnf: Confirmation | None = None

    @model_validator(mode="after")
    def _small_enough(self) -> NewToken:
        if len(self.model_dump_json().encode()) > MAX_BYTES:
            raise ValueError(f"is larger than {MAX_BYTES} bytes")
        return self

    def as_request(self) -> TokenRequest:
        """Return the properties that the client requests for the API token."""
        given = {name: getattr(self, name) for name in NewToken.model_fields if name != "cnf"}
        return TokenRequest(
            **given, binding=None if self.cnf is None else from_confirmation(self.cnf)
        )


class TokenChange(Section):
    """The request body of C{PATCH /tokens/{id}}."""

    name: Line | None = None
    comment: Line | None = None
    ttl: WholeSeconds | None = None


class LeakedToken(Section):
    """The request body of C{POST /tokens/revoke}."""

    token: str


def read_body(request: Request, section: type[_S]) -> _S:
    """
    Parse the JSON body of a request.

    @raise EarlyReply: the body is not JSON, or does not have the keys and types that C{section}
        defines.
    """
    if request.media_type != "application/json":
        raise EarlyReply(replies.UNSUPPORTED_MEDIA_TYPE)
    try:
        given = strict_json.loads(request.content.getvalue(), most=_MAX_CONTAINERS)
    except ValueError:
        problem = Problem("", "the body is not strict JSON in UTF-8")
        raise EarlyReply(replies.malformed([problem])) from None
    if not isinstance(given, dict):
        raise EarlyReply(replies.malformed([Problem("", "the body must be a JSON object")]))
    if problems := [*islice(_excesses(section, given), 10)]:
        raise EarlyReply(replies.malformed(problems))
    try:
        return read(section, given)
    except ConfigError as error:
        raise EarlyReply(replies.malformed(error.problems)) from None


def _excesses(section: type[Section], given: Mapping[str, Any]) -> Iterator[Problem]:
    """
    Yield a problem for each unknown key, and for each array or object in a request body with too
    many entries.

    Unknown keys and long lists are found before the validation, because the validation collects
    every mistake, of which 64 KiB can hold thousands. Unlike in a configuration, no similar key is
    suggested for an unknown key, because searching for one takes longer than parsing the body.
    """
    for key, value in given.items():
        if key not in section.model_fields:
            yield Problem(key[:_MAX_SHOWN], "unknown key")
        elif isinstance(value, (list, dict)):
            if len(value) > _MAX_ENTRIES:
                yield Problem(key, f"has more than {_MAX_ENTRIES} entries")
            elif _inner_entries(value) > _MAX_SCOPES:
                yield Problem(key, f"contains lists with more than {_MAX_SCOPES} entries in total")


def _inner_entries(value: list[Any] | dict[str, Any]) -> int:
    """Count the entries of all arrays and objects that are direct members of a JSON value."""
    inner = value.values() if isinstance(value, dict) else value
    return sum(len(each) for each in inner if isinstance(each, (list, dict)))


def read_query(request: Request, known: set[str]) -> Mapping[str, str]:
    """
    Parse the query in the URL of a request.

    @raise EarlyReply: a parameter of the query is unknown, duplicate, or not in UTF-8.
    """
    raw = request.uri.partition(b"?")[2]
    try:
        found = parse_qs(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10
        )
    except ValueError:
        raise EarlyReply(replies.BAD_REQUEST) from None
    problems = [Problem(name, "is unknown") for name in found.keys() - known]
    problems += [Problem(name, "is duplicate") for name, all_ in found.items() if len(all_) > 1]
    if problems:
        raise EarlyReply(replies.malformed(problems))
    return {name: normalize(values[0]) for name, values in found.items()}


def page_limit(query: Mapping[str, str]) -> int:
    """
    Return the parameter C{limit} of a query for API tokens, by default 100.

    @raise EarlyReply: the parameter C{limit} is not a number from 1 to 1000.
    """
    limit = query.get("limit", "100")
    if not (re.fullmatch(r"[0-9]{1,4}", limit) and 1 <= int(limit) <= _MAX_LIMIT):
        raise EarlyReply(
            replies.malformed([Problem("limit", f"must be a number from 1 to {_MAX_LIMIT}")])
        )
    return int(limit)


def token_as_json(token: Token) -> dict[str, Any]:
    """Convert an API token to JSON, without its secret, which auth-o-tron calls C{token_string}."""
    owner, grant = token.owner, token.grant
    return {
        "version": 1,
        "id": token.id,
        "parent": token.lineage[-1] if token.lineage else None,
        "token_string": f"{PREFIX}{token.id}",
        "realm": owner.realm,
        "username": owner.username,
        "name": token.name,
        "comment": token.comment,
        "email": token.email,
        "created": _whole_seconds(token.created),
        "expires": _whole_seconds(grant.expires),
        "last_used": _whole_seconds(token.used),
        "roles": None if grant.roles is None else list(grant.roles),
        "scopes": {} if grant.scopes is None else {k: list(v) for k, v in grant.scopes.items()},
        "hosts": list(grant.hosts),
        "networks": list(grant.networks),
        **({"cnf": token.binding.confirmation} if token.binding else {}),
    }


def _whole_seconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
