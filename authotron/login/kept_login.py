"""A login that is kept in the cache of its user: the token, and when to renew the token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from attrs import asdict, evolve, field, frozen

from authotron.login.issued import Issued
from authotron.model import strict_json

_VERSION = 1

_STEP = 60.0
"""Seconds by which a clock may be set back before the age of a token counts as unknown."""

_PAUSE = (5.0, 60.0)
"""The shortest and the longest time between two attempts to renew a token that is still valid."""


@frozen
class KeptLogin:
    """
    A login at a gateway, as a file in the cache of the user keeps it.

    The times of a kept login are those of the local clock, so that tokens of a gateway whose clock
    differs are not renewed too late.

    @ivar gateway: the URL of the gateway that issued the token.
    @ivar obtained: the time at which the token was received.
    @ivar ends: the time at which the token expires.
    @ivar due: the time from which the token is to be renewed, at first the middle
        of its lifetime.
    @ivar credential: the fingerprint of the credential that the client presented.
    @ivar wish: the properties that were requested for the token, which the next token gets as well.
    """

    gateway: str
    token: str = field(repr=False)
    id: str
    username: str
    realm: str
    obtained: float
    ends: float
    due: float
    credential: str
    refresh_token: str | None = field(default=None, repr=False)
    wish: Mapping[str, Any] = field(factory=dict)

    def is_valid(self, now: float) -> bool:
        """Return whether the token has not expired yet."""
        return now < self.ends

    def is_due(self, now: float) -> bool:
        """Return whether the token is to be renewed, also if the clock has been set back."""
        return now >= self.due or now < self.obtained - _STEP

    def postponed(self, now: float) -> KeptLogin:
        """Return the login with the next attempt to renew the token somewhat later."""
        shortest, longest = _PAUSE
        pause = min(max((self.ends - now) / 2, shortest), longest)
        return evolve(self, due=now + pause, obtained=min(self.obtained, now))

    def without_refresh_token(self) -> KeptLogin:
        """Return the login without its refresh token."""
        return evolve(self, refresh_token=None)

    def encode(self) -> bytes:
        """Return the login as JSON."""
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=1).encode()


def of_issued(
    gateway: str, issued: Issued, credential: str, wish: Mapping[str, Any], now: float
) -> KeptLogin:
    """
    Return the login that is kept for a token that was received just now.

    The token is due after half of its life, (iat + exp) / 2 by the clock of the gateway.
    """
    return KeptLogin(
        gateway=gateway,
        token=issued.token,
        id=issued.id,
        username=issued.username,
        realm=issued.realm,
        obtained=now,
        ends=now + issued.lifetime,
        due=now + issued.lifetime / 2,
        credential=credential,
        refresh_token=issued.refresh_token,
        wish=wish,
    )


def decode(content: bytes) -> KeptLogin | None:
    """Return the login in a file, or C{None} if another version of authotron wrote the file."""
    try:
        found = strict_json.loads(content, longest=len(content) + 1)
        if not isinstance(found, dict) or found.pop("version", None) != _VERSION:
            return None
        login = KeptLogin(**found)
    except (TypeError, ValueError):
        return None
    texts = (login.gateway, login.token, login.id, login.username, login.realm, login.credential)
    times = (login.obtained, login.ends, login.due)
    good = (
        all(isinstance(each, str) for each in texts)
        and all(isinstance(each, int | float) for each in times)
        and isinstance(login.refresh_token, str | None)
        and isinstance(login.wish, dict)
    )
    return login if good else None


def name_of(gateway: str, profile: str) -> str:
    """Return the name of the file in which the login of a profile at a gateway is kept."""
    place = f"{gateway.rstrip('/')}\n{profile}".encode()
    return f"login-{hashlib.sha256(place).hexdigest()[:32]}"
