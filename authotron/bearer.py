"""What a bearer token shows of itself before anybody has judged it, and who that makes likely."""

from __future__ import annotations

import binascii
import json
import math
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

from attrs import field, frozen
from pydantic import Field

from authotron.errors import Rejected
from authotron.providers import Affinity
from authotron.settings import Section, Text

LONGEST = 65_536
"""A longer token is not looked at."""

OWN_PREFIX = "aot_"
"""Begins the tokens that the gateway itself gives out."""

Shape = Literal["jwt", "opaque"]

_PARTS = 3


@frozen
class Unverified:
    """A token taken apart. Nothing of it is to be believed."""

    header: Mapping[str, Any] = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)


def look_into(token: str) -> Unverified | None:
    """What a token says, if it is a JWT: its first part decodes to a JSON object with C{alg}."""
    parts = token.split(".", _PARTS)
    if len(parts) < 2 or len(token) > LONGEST:  # noqa: PLR2004 - a header and something more
        return None
    try:
        header = decoded(parts[0])
    except Rejected:
        return None
    if "alg" not in header:
        return None
    try:
        claims = decoded(parts[1])
    except Rejected:
        claims = {}
    return Unverified(header, claims)


def decoded(part: str) -> dict[str, Any]:
    """
    The JSON object in one part of a token.

    @raise Rejected: it is no canonical base64url, no JSON, no object, says something twice or holds
        a number that is none.
    """
    try:
        content = b64decoded(part)
        found = json.loads(
            content, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite
        )
    except (ValueError, RecursionError):
        raise Rejected("not base64 of JSON") from None
    if not isinstance(found, dict):
        raise Rejected("no JSON object")
    return found


def b64decoded(part: str) -> bytes:
    """
    The bytes of a part (RFC 7515 section 2).

    @raise ValueError: it is no base64 as it stands in a token.
    """
    if not part.isascii() or set("=+/ \n") & set(part):
        raise ValueError("no base64url")
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        raise ValueError("no base64url") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse(_text: str) -> NoReturn:
    raise ValueError("no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("no number")
    return number


# --- routing ---


class Accepts(Section):
    """Which tokens a provider is asked about; all that is given must fit."""

    shape: Shape | None = Field(default=None, description="JSON Web Tokens only, or only others")
    issuer: Text | None = Field(default=None, description="the `iss` that a token must claim")
    prefix: Text | None = Field(default=None, description="what a token must begin with")


Rule = Literal["any", "jwt", "opaque"] | Accepts


def likeness(rule: Rule, token: str) -> Affinity:
    """
    What C{rule} makes of a token.

    One that fits an issuer or a prefix goes to those who named it, before all others.
    """
    if rule == "any":
        return Affinity.POSSIBLE
    if token.startswith(OWN_PREFIX):
        return Affinity.FOREIGN
    seen = look_into(token)
    shape: Shape = "opaque" if seen is None else "jwt"
    if not isinstance(rule, Accepts):
        return Affinity.POSSIBLE if rule == shape else Affinity.FOREIGN
    fits = (
        rule.shape in (None, shape)
        and (rule.issuer is None or (seen is not None and seen.claims.get("iss") == rule.issuer))
        and token.startswith(rule.prefix or "")
    )
    if not fits:
        return Affinity.FOREIGN
    return Affinity.LIKELY if rule.issuer or rule.prefix else Affinity.POSSIBLE
