"""Parse the body of C{POST /permissions}, which states an identity and a namespace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from attrs import field, frozen

from authotron.model.errors import Problem
from authotron.policy.subjects import check_tag
from authotron.web import replies
from authotron.web.json_bodies import read_object
from authotron.web.request import Request
from authotron.web.routing import EarlyReply

_KEYS = ("claims", "token", "namespace")

_MOST_CLAIMS = 5_000
"""Maximum number of claims in one C{POST /permissions} body."""

_MOST_SHOWN = 10
"""Maximum number of mistakes in one request body that an error reply lists."""

_LONGEST_KEY = 64
"""Maximum number of characters of an unknown key that an error message repeats."""

_MOST_CONTAINERS = 64
"""Maximum number of JSON arrays and objects in a request body; a valid body needs only two."""


@frozen
class PermissionsQuestion:
    """
    The body of C{POST /permissions}.

    @ivar claims: the claims of an identity, or C{None} if the body does not state claims.
    @ivar token: a bearer token; the permission list is about the bearer of this token.
    @ivar namespace: the namespace of the permission list, or C{None} to use the configured
        C{policy.namespace}.
    """

    claims: tuple[str, ...] | None = None
    token: str | None = field(default=None, repr=False)
    namespace: str | None = None


def read_question(request: Request) -> PermissionsQuestion:
    """
    Parse the body of a request to C{POST /permissions}.

    @raise EarlyReply: the body is not a JSON object (400), or a key is unknown or has a value of
        the wrong type (422).
    """
    if request.media_type != "application/json":
        raise EarlyReply(replies.UNSUPPORTED_MEDIA_TYPE)
    given = read_object(request, _MOST_CONTAINERS)
    problems = [*islice(_problems(given), _MOST_SHOWN)]
    if problems:
        raise EarlyReply(replies.unprocessable(problems))
    claims = given.get("claims")
    return PermissionsQuestion(
        None if claims is None else tuple(claims), given.get("token"), given.get("namespace")
    )


def _problems(given: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the mistakes in the keys and the types of values of a C{POST /permissions} body."""
    for key, value in given.items():
        if key not in _KEYS:
            yield Problem(key[:_LONGEST_KEY], "unknown key")
        elif key == "claims":
            yield from _problems_of_claims(value)
        elif not isinstance(value, str):
            yield Problem(key, "must be a string")
    if "claims" in given and "token" in given:
        yield Problem("token", "stands beside claims; state either token or claims")


def _problems_of_claims(given: object) -> Iterator[Problem]:
    if not isinstance(given, list):
        yield Problem("claims", "must be a list of strings, such as role=reader")
        return
    if len(given) > _MOST_CLAIMS:
        yield Problem("claims", f"has more than {_MOST_CLAIMS} entries")
        return
    for place, claim in enumerate(given):
        if why := _problem_of_claim(claim):
            yield Problem(f"claims[{place}]", why)


def _problem_of_claim(claim: object) -> str:
    if not isinstance(claim, str):
        return "must be a string, such as role=reader"
    try:
        check_tag(claim)
    except ValueError as error:
        return str(error)
    return ""
