"""
Tokens that other services gave out and that are copied into the store: how they are known again.

They have no form of their own, so every token without one may be meant. What is kept of them is
hashed like the tokens of our own; what is hashed is the token, or what its service had stored, with
the name of the service before it, so that what one stores is worth nothing as a token of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256

from attrs import evolve, field, frozen
from twisted.internet.interfaces import IReactorTime

from authotron.config.plugins import StoreConfig
from authotron.jose import unverified
from authotron.model.errors import TokenExists
from authotron.model.identity import Identity, earliest
from authotron.model.token import (
    IMPORT,
    Grant,
    PlainToken,
    Token,
    looks_like_ours,
)
from authotron.telemetry import audit
from authotron.telemetry.audit import Actor
from authotron.tokens.bounded_store import StoreClient

ACL_PROXY, AUTH_O_TRON = ("acl-proxy", "auth-o-tron")
"""Whose tokens can be imported."""

_LONGEST = 512
_IN_A_HEADER = re.compile(r"[!-+\--~]+")
"""Without blanks and commas, at which a header is taken apart."""


def may_be(text: str) -> bool:
    """Whether a token may be an imported one: not one of ours, and no JSON Web Token."""
    fits = len(text) <= _LONGEST and _IN_A_HEADER.fullmatch(text) is not None
    return fits and not looks_like_ours(text) and unverified.look_into(text) is None


def candidates(text: str, acl_proxy_peppers: Sequence[bytes]) -> Iterator[str]:
    """What a token may be known as, by each service that tokens were imported from."""
    yield of_auth_o_tron(text)
    for pepper in acl_proxy_peppers:
        yield of_acl_proxy(sha256(text.encode() + pepper).hexdigest())


def of_auth_o_tron(token: str) -> str:
    """What a token is known as that auth-o-tron has stored as it is."""
    return f"{AUTH_O_TRON}:{token}"


def of_acl_proxy(stored: str) -> str:
    """The same where acl-proxy has stored this: SHA-256, in hexadecimal, of token and pepper."""
    return f"{ACL_PROXY}:{stored}"


@frozen
class ForeignToken:
    """What another service says of a token of its own."""

    owner: Identity
    grant: Grant = field(factory=Grant)
    created: float | None = None
    name: str = ""
    comment: str = ""
    email: str = ""
    provider: str = ""


@frozen(eq=False)
class ImportedTokens:
    """The imported tokens in a store, under the rules of one configuration."""

    _store: StoreClient
    _rules: StoreConfig
    _clock: IReactorTime
    _max_ttl: float

    def may_know(self, text: str) -> bool:
        """Whether a token of another form may be one that was imported."""
        return self._rules.imported and may_be(text)

    async def candidates(self, text: str) -> Sequence[PlainToken]:
        """
        All that a token may be kept as.

        @raise Unavailable: the store does not open.
        """
        await self._store.opened()  # or a pepper beside it would not be known
        peppers, known = self._store.peppers(), candidates(text, self._rules.acl_proxy_peppers())
        return [presented for each in known for presented in peppers.named(each)]

    async def has(self, known_as: str) -> bool:
        """
        Whether a token was copied already, or was copied and revoked.

        @param known_as: see L{candidates}.

        @raise Unavailable: the store does not answer.
        """
        await self._store.opened()
        for presented in self._store.peppers().named(known_as):
            if await self._store.get(presented.id) is not None:
                return True
            if await self._store.revoked(presented.id) is not None:
                return True
        return False

    async def copy(self, known_as: str, source: ForeignToken, by: Actor | None = None) -> bool:
        """
        Keep a token that another service gave out; say whether it was not here already.

        @raise Unavailable: the store does not answer.
        """
        if await self.has(known_as):
            return False
        now, grant, peppers = self._clock.seconds(), source.grant, self._store.peppers()
        token = Token(
            next(peppers.named(known_as)).id,
            peppers.hash(known_as),
            source.owner,
            source.created or now,
            evolve(grant, expires=earliest(grant.expires, now + self._max_ttl)),
            source.name,
            source.comment,
            source.email,
            origin=IMPORT,
            provider=source.provider,
        )
        try:
            await self._store.add(token)
        except TokenExists:
            return False
        audit.imported(token, by or audit.at_terminal())
        return True
