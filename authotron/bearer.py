"""What a bearer token shows of itself before anybody has judged it."""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, NoReturn

from attrs import field, frozen

from authotron.errors import Rejected

LONGEST = 65_536
"""A longer token is not looked at."""

_PARTS = 3
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


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

    @raise ValueError: it is no base64 as it stands in a token; C{binascii.Error} is one.
    """
    if not _ALPHABET.fullmatch(part):
        raise ValueError("no base64url")
    raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("not canonical base64url")
    return raw


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
