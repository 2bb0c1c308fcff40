"""A lasting token is exchanged for an access token, which tells whose it is."""

from __future__ import annotations

from typing import Any

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from authotron.claims import ClaimsConfig, Rules
from authotron.errors import Unavailable
from authotron.identity import Identity
from authotron.jwks import ALGORITHMS, At, KeySet, Verifier
from authotron.web_client import WebClient

_EARLY = 10.0
"""Seconds before its end at which an access token is not relied on any more."""


@frozen
class AccessTokens:
    """Judges what a token was exchanged for."""

    _clock: IReactorTime
    _verifier: Verifier
    _rules: Rules

    async def identity(self, told: dict[str, Any], place: str) -> Identity:
        """
        Who the access token in an answer belongs to, and until shortly before when.

        @raise Rejected: it is not good.
        @raise Unavailable: there is none, or the keys cannot be had.
        """
        token = told.get("access_token")
        if not (isinstance(token, str) and token.isascii()):
            raise Unavailable(f"{place} gave no access token")
        header, claims = await self._verifier.verified(token)
        self._rules.right_kind(header, claims)
        identity = self._rules.identity(claims, self._clock.seconds())
        return evolve(identity, fresh_until=(identity.expires or 0) - _EARLY)

    async def reach(self) -> None:
        """
        Fetch the keys if there are none.

        @raise Unavailable: they cannot be had.
        """
        if self._verifier.keys is not None:
            await self._verifier.keys.reach()


def make(
    clock: IReactorTime, web: WebClient, cert_uri: str, name: str, realm: str, config: ClaimsConfig
) -> AccessTokens:
    """Build the judge of what an issuer with its keys at C{cert_uri} gives out."""
    keys = KeySet(clock, At(web, cert_uri))
    return AccessTokens(clock, Verifier(ALGORITHMS, keys), Rules(name, realm, config))
