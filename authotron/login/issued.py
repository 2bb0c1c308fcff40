"""Tokens that a gateway issues to a client: what the answer of the gateway says of a token."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from authotron.model import strict_json

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,32768}=*")
"""Matches what can be sent as a bearer token (RFC 6750 section 2.1)."""


@frozen
class Issued:
    """
    An exchanged token, and what the gateway says of it.

    @ivar issued: the time at which the gateway issued the token, in seconds since the epoch.
    @ivar expires: the time from which the gateway refuses the token.
    @ivar refresh_token: the token that renews the exchanged token once, or C{None}.
    """

    token: str = field(repr=False)
    id: str
    issued: float
    expires: float
    username: str
    realm: str
    refresh_token: str | None = field(default=None, repr=False)

    @property
    def lifetime(self) -> float:
        """How long the token is valid, in seconds, by the clock of the gateway."""
        return self.expires - self.issued


def read(answer: Mapping[str, Any], now: float) -> Issued:
    """
    Read the answer of a gateway to an exchange.

    @param now: the time of issue to assume, if the token does not state when it was issued.

    @raise ValueError: the answer does not describe a bearer token.
    """
    identity = answer.get("identity")
    if not isinstance(identity, dict):
        raise ValueError("`identity` is missing")  # noqa: TRY004 - the answer is not an argument
    if answer.get("token_type") != "Bearer":
        raise ValueError("`token_type` is not Bearer")
    token, expires = _token(answer, "token"), _time(answer.get("expires"))
    if expires is None:
        raise ValueError("`expires` is not a time")
    stated = _time(_claims(token).get("iat"))
    issued = now if stated is None else stated
    if expires <= issued:
        raise ValueError("the token has expired already")
    refresh = None if answer.get("refresh_token") is None else _token(answer, "refresh_token")
    texts = [str(answer.get("id", "")), *(str(identity.get(key, "")) for key in _NAMES)]
    id_, username, realm = texts
    return Issued(token, id_, issued, expires, username, realm, refresh)


_NAMES = ("username", "realm")


def _token(answer: Mapping[str, Any], key: str) -> str:
    found = answer.get(key)
    if not isinstance(found, str) or not _TOKEN.fullmatch(found):
        raise ValueError(f"`{key}` is not a token")
    return found


def _time(value: object) -> float | None:
    is_time = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_time and 0 <= value < _LATEST else None  # type: ignore[operator, arg-type] # is_time says that the value is a number


_LATEST = 1e11
"""A time that no token reaches, about the year 5138."""


def _claims(token: str) -> Mapping[str, Any]:
    """
    Return the claims in a JWT that came from the gateway itself, so that its signature need not be
    verified; return nothing if the text is not a JWT.
    """
    try:
        payload = token.split(".")[1]
        found = strict_json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
