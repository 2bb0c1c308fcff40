"""Parse the bodies of requests about revocations, and convert revocations to JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from authotron.model.errors import Problem
from authotron.model.moments import parse_moment
from authotron.model.naming import normalize
from authotron.model.revocation import Revocation
from authotron.policy import expressions
from authotron.web import replies
from authotron.web.json_bodies import read_object
from authotron.web.request import Request
from authotron.web.routing import EarlyReply

_TEXTS: Mapping[str, int] = {
    "token": 65_536,
    "token_id": 256,
    "realm": 256,
    "username": 256,
    "claims": expressions.LONGEST,
    "reason": 256,
}
"""The keys whose values are strings, with the maximum number of characters of each."""

_TIMES = ("issued_before", "active_from", "until")

_MOST_BRACKETS = 4_000
"""Maximum number of opening brackets in a body, those in its strings included."""

_LONGEST_KEY = 64
"""Maximum number of characters of an unknown key that an error message repeats."""


@frozen
class NewRevocation:
    """
    The body of C{POST /revocations}: which credentials are to be revoked, from which time, and
    until which time.

    @ivar token: the text of the token to revoke, if the client names the credential by its text.
    @ivar token_id: the id of a token.
    """

    token: str | None = field(default=None, repr=False)
    token_id: str | None = None
    realm: str | None = None
    username: str | None = None
    claims: str | None = None
    reason: str = ""
    issued_before: float | None = None
    active_from: float | None = None
    until: float | None = None


def read_new(request: Request, now: float) -> NewRevocation:
    """
    Parse the body of C{POST /revocations}.

    @raise EarlyReply: the body is not a JSON object (400), or does not name credentials in a known
        way (422).
    """
    if request.media_type != "application/json":
        raise EarlyReply(replies.UNSUPPORTED_MEDIA_TYPE)
    given = read_object(request, _MOST_BRACKETS)
    problems = [*_key_problems(given)]
    if problems:
        raise EarlyReply(replies.unprocessable(problems))
    times: dict[str, float] = {}
    for name in _TIMES:
        if name in given:
            try:
                times[name] = parse_moment(given[name], now)
            except ValueError as error:
                problems.append(Problem(name, str(error)))
    texts: dict[str, Any] = {name: given[name] for name in _TEXTS if name in given}
    for name in {"realm", "username"} & texts.keys():
        texts[name] = normalize(texts[name])
    found = NewRevocation(**{**texts, **times})
    problems += _problems(found, now)
    if problems:
        raise EarlyReply(replies.unprocessable(problems))
    return found


def _key_problems(given: Mapping[str, Any]) -> Iterator[Problem]:
    for key, value in given.items():
        if key in _TEXTS:
            if not isinstance(value, str) or not value.isprintable():
                yield Problem(key, "must be a string without control characters")
            elif len(value) > _TEXTS[key]:
                yield Problem(key, f"is longer than {_TEXTS[key]} characters")
            elif not value.strip() and key != "reason":
                yield Problem(key, "is empty")
        elif key not in _TIMES:
            yield Problem(key[:_LONGEST_KEY], "unknown key")


def _problems(found: NewRevocation, now: float) -> Iterator[Problem]:
    """Yield each problem with the combination of keys in a request body."""
    has_owner = found.realm is not None or found.username is not None
    if has_owner and (found.realm is None or found.username is None):
        yield Problem("", "name both realm and username of the owner")
    ways = [found.token is not None, found.token_id is not None, found.claims is not None]
    if sum(ways) + (has_owner and not found.token_id) != 1:
        yield Problem("", "name a token, a token_id, realm and username, or claims")
    if found.until is not None and found.until <= max(now, found.active_from or now):
        yield Problem("until", "is not after active_from and not in the future")
    is_one_token = found.token is not None or found.token_id is not None
    if is_one_token and found.issued_before is not None:
        yield Problem("issued_before", "cannot be given for one token")


def check_expression(text: str) -> None:
    """
    Check the expression of a revocation; to compile it takes some milliseconds, so this is only
    done for administrators.

    @raise EarlyReply: the expression cannot be compiled (422).
    """
    try:
        expressions.compiled_for_claims(text)
    except ValueError as error:
        raise EarlyReply(replies.unprocessable([Problem("claims", str(error))])) from None


def as_json(found: Revocation, *, for_owner: bool = False) -> dict[str, Any]:
    """
    Convert a revocation to JSON.

    @param for_owner: whether the JSON is for a client that is not an administrator, and is not
        shown why an administrator has made the revocation.
    """
    content = {
        "version": 1,
        "id": found.id,
        "token_id": found.token,
        "realm": found.realm,
        "username": found.username,
        "claims": found.claims,
        "created": found.created,
        "issued_before": found.issued_before,
        "active_from": found.active_from,
        "until": found.until,
    }
    return content if for_owner else {**content, "reason": found.reason, "by": found.by}
