"""
API tokens that another service issued, and that were imported into the token store.

The format of imported tokens cannot be recognized, so any opaque bearer token may be an imported
token. An imported token is stored like every API token: only as a keyed hash. The hash of an
imported token is computed from the name of the service that issued the token, and from what the
service had stored: the token or a hash of the token. The name of the service is part of the hashed
text, so a value that one service had stored is never accepted as a token of another service.
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
"""The names of the services whose tokens can be imported."""

_LONGEST = 512
"""Maximum number of characters of a bearer token that is looked up as an imported token."""

_IN_A_HEADER = re.compile(r"[!-+\--~]+")
"""
A regular expression of the characters that a credential may contain: visible ASCII characters
except the comma, which separates credentials in C{Authorization}.
"""


def may_be(text: str) -> bool:
    """
    Whether a bearer token may be an imported token, because it is neither of the form C{aot_...}
    nor a JWT.
    """
    fits = len(text) <= _LONGEST and _IN_A_HEADER.fullmatch(text) is not None
    return fits and not looks_like_ours(text) and unverified.parse(text) is None


def candidate_names(text: str, acl_proxy_peppers: Sequence[bytes]) -> Iterator[str]:
    """
    Yield the strings of which a keyed hash may be stored for an imported token: one for
    auth-o-tron, and one for each pepper of acl-proxy.
    """
    yield of_auth_o_tron(text)
    for pepper in acl_proxy_peppers:
        yield of_acl_proxy(sha256(text.encode() + pepper).hexdigest())


def of_auth_o_tron(token: str) -> str:
    """Return the string of which a keyed hash is stored for a token imported from auth-o-tron."""
    return f"{AUTH_O_TRON}:{token}"


def of_acl_proxy(stored: str) -> str:
    """
    Return the string of which a keyed hash is stored for a token imported from acl-proxy.

    @param stored: the hexadecimal SHA-256 hash of token and pepper that acl-proxy had stored.
    """
    return f"{ACL_PROXY}:{stored}"


@frozen
class ForeignToken:
    """The properties of a token that another service had stored."""

    owner: Identity
    grant: Grant = field(factory=Grant)
    created: float | None = None
    name: str = ""
    comment: str = ""
    email: str = ""
    provider: str = ""


@frozen(eq=False)
class ImportedTokens:
    """
    Gives access to the imported tokens in a token store, with the settings that the current
    configuration has for them.
    """

    _store: StoreClient
    _rules: StoreConfig
    _clock: IReactorTime
    _max_ttl: float

    @staticmethod
    def may_be(text: str) -> bool:
        """Whether a bearer token may be an imported token, according to the function L{may_be}."""
        return may_be(text)

    def may_know(self, text: str) -> bool:
        """Whether imported tokens are enabled, so that a bearer token may be an imported token."""
        return self._rules.imported and may_be(text)

    async def candidates(self, text: str) -> Sequence[PlainToken]:
        """
        Return the API tokens that a bearer token may stand for, if it is an imported token.

        @raise Unavailable: the token store cannot be opened.
        """
        await (
            self._store.wait_until_open()
        )  # A pepper that the store generated is known only once the store is open.
        peppers = self._store.peppers()
        names = candidate_names(text, self._rules.acl_proxy_peppers())
        return [candidate for name in names for candidate in peppers.plain_tokens(name)]

    async def has(self, known_as: str) -> bool:
        """
        Whether a token of another service was imported already, or was imported and then revoked.

        @param known_as: the string that is hashed with the pepper to store the token, see
            L{candidate_names}.

        @raise Unavailable: the store does not answer.
        """
        await self._store.wait_until_open()
        for presented in self._store.peppers().plain_tokens(known_as):
            if await self._store.get(presented.id) is not None:
                return True
            if await self._store.find_revoked(presented.id) is not None:
                return True
        return False

    async def copy(self, known_as: str, source: ForeignToken, by: Actor | None = None) -> bool:
        """
        Import a token of another service, unless it was imported before; return whether it was
        imported now.

        @raise Unavailable: the store does not answer.
        """
        if await self.has(known_as):
            return False
        now, grant, peppers = self._clock.seconds(), source.grant, self._store.peppers()
        token = Token(
            next(peppers.plain_tokens(known_as)).id,
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
