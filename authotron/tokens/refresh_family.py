"""
Families of refresh tokens in the token store: a family has the refresh tokens of one login, of
which only the newest is valid, and it ends at once if a refresh token is used a second time.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import IReactorTime

from authotron.config.refresh import RefreshConfig
from authotron.model.errors import Rejected, TooMany, Unavailable
from authotron.model.identity import Identity
from authotron.model.records import Record
from authotron.tokens import refresh_token
from authotron.tokens.bounded_store import StoreClient
from authotron.tokens.refresh_token import PLACES, RefreshToken

KIND = "refresh"
"""The kind of the records in which the token store keeps families of refresh tokens."""

_TRIES = 100
"""
Maximum number of attempts to end a family of refresh tokens while clients use its refresh tokens.
"""


class Reused(Rejected):
    """
    A refresh token was used a second time, so two clients have it, of which one may be a thief; the
    family of the refresh token was removed.
    """

    def __init__(self, family: Family) -> None:
        super().__init__("the refresh token was used before, so its login has ended")
        self.family = family


PREFIX = "login-"
"""The prefix of the id of each family, which tells it from the ids of tokens."""

_ID_BYTES = 16
"""Number of random bytes in the id of a family."""


def new_id() -> str:
    """Return the id of a new family of refresh tokens."""
    return PREFIX + secrets.token_urlsafe(_ID_BYTES)


@frozen
class Family:
    """
    A family of refresh tokens: those that clients get one after the other, beginning with one
    login.

    @ivar id: the id of the family, which each exchanged token issued with its refresh tokens states
        among the ids of its ancestors.
    @ivar owner: realm and user name of the user to whom the first refresh token was issued.
    @ivar grant: what the exchanged tokens issued with the refresh tokens grant, as claims.
    @ivar ends: when the family of refresh tokens ends at the latest, in seconds since the epoch.
    @ivar validity: the lifetime in seconds of each exchanged token issued with a refresh token.
    @ivar shared: the hash of the secret that all refresh tokens of the family contain.
    @ivar newest: the hash of the secret of the refresh token that was issued last.
    """

    id: str
    owner: tuple[str, str]
    grant: Mapping[str, Any] = field(repr=False)
    ends: float
    validity: int
    shared: str = field(repr=False)
    newest: str = field(repr=False)

    def as_json(self) -> str:
        """Return the family of refresh tokens as JSON, for the token store."""
        return json.dumps(
            {
                "id": self.id,
                "owner": self.owner,
                "grant": self.grant,
                "ends": self.ends,
                "validity": self.validity,
                "shared": self.shared,
                "newest": self.newest,
            }
        )


def _family(content: str) -> Family:
    stated = json.loads(content)
    realm, username = stated.pop("owner")
    return Family(owner=(realm, username), **stated)


@define(eq=False)
class RefreshFamilies:
    """The families of refresh tokens in the token store."""

    _store: StoreClient
    _config: RefreshConfig
    _clock: IReactorTime

    @property
    def longest(self) -> int:
        """Maximum number of seconds from a login to the end of its refresh tokens."""
        return self._config.absolute

    async def begin(
        self, owner: Identity, id_: str, grant: Mapping[str, Any], ends: float, validity: int
    ) -> RefreshToken:
        """
        Store a new family of refresh tokens, and return its first refresh token.

        @param ends: when the refresh tokens end at the latest, in seconds since the epoch.

        @raise TooMany: the user has the maximum number of families of refresh tokens already.
        @raise Unavailable: the token store does not answer.
        """
        await self._store.wait_until_open()
        now = self._clock.seconds()
        first = secrets.randbelow(PLACES)
        for number in range(first, first + PLACES):
            place = refresh_token.place_of(owner.realm, owner.username, number % PLACES)
            token = refresh_token.generate(place)
            family = Family(
                id_,
                owner[:2],
                grant,
                ends,
                validity,
                self._hash(token.family),
                self._hash(token.own),
            )
            if await self._store.add_record(self._record(place, family, now), now):
                return token
        raise TooMany(f"a user can have at most {PLACES} refresh tokens")

    async def use(self, token: RefreshToken) -> tuple[Family, Record]:
        """
        Find the family of a refresh token that a client uses, and the record of the family in the
        token store.

        @raise Reused: the refresh token was used before; its family was removed.
        @raise Rejected: the family does not exist, or has ended.
        @raise Unavailable: the token store does not answer.
        """
        await self._store.wait_until_open()
        family, record = await self._find(token)
        if not self._fits(family.newest, token.own):
            raise await self._ended(family, record)
        return family, record

    async def replace(self, token: RefreshToken, family: Family, earlier: Record) -> RefreshToken:
        """
        Replace the refresh token that a client uses by a new one.

        @raise Reused: another client has used the refresh token meanwhile; its family was removed.
        @raise Unavailable: the token store does not answer; perhaps the refresh token was replaced.
        """
        new = token.successor()
        changed = evolve(family, newest=self._hash(new.own))
        record = self._record(token.place, changed, self._clock.seconds())
        if not await self._store.replace_record(record, earlier):
            raise await self._ended(family, earlier)
        return new

    async def find(self, token: RefreshToken) -> Family | None:
        """
        Return the family of a refresh token, whether the token was used or not, or C{None} if the
        token store has no such family.

        @raise Unavailable: the token store does not answer.
        """
        await self._store.wait_until_open()
        try:
            return (await self._find(token))[0]
        except Rejected:
            return None

    async def end(self, token: RefreshToken) -> Family | None:
        """
        End the family of a refresh token, whether the token was used or not, and return the family,
        or C{None} if the token store has no such family.

        @raise Unavailable: the token store does not answer.
        """
        await self._store.wait_until_open()
        try:
            family, record = await self._find(token)
        except Rejected:
            return None
        await self._ended(family, record)
        return family

    async def _find(self, token: RefreshToken) -> tuple[Family, Record]:
        """
        Return the family to which a refresh token belongs, whether the token was used before or
        not.

        @raise Rejected: the family does not exist, or has ended.
        """
        now = self._clock.seconds()
        record = await self._store.record(KIND, token.place, now)
        if record is None:
            raise Rejected("the refresh token is unknown, has expired or was revoked")
        family = _family(record.content)
        if not self._fits(family.shared, token.family) or family.ends <= now:
            raise Rejected("the refresh token is unknown, has expired or was revoked")
        return family, record

    async def _ended(self, family: Family, record: Record) -> Reused:
        """
        End a family of refresh tokens, even if clients have used its tokens meanwhile, but keep a
        newer family whose record has the same id.

        The record stays in the token store as long as the exchanged tokens that were issued for the
        family may be valid. So a user who logs in and out in a loop cannot make the gateway keep
        any number of revocations.

        @raise Unavailable: the token store does not answer; perhaps the family has not ended.
        """
        now = self._clock.seconds()
        current: Record | None = record
        for _ in range(_TRIES):
            if current is None or _family(current.content).id != family.id:
                return Reused(family)
            # A changed record may belong to a new family, so the record is not just removed.
            content = evolve(family, ends=0.0).as_json()
            ended = evolve(current, content=content, until=now + family.validity)
            if await self._store.replace_record(ended, current):
                return Reused(family)
            current = await self._store.record(KIND, record.id, now)
        raise Unavailable("the refresh tokens of a login are replaced too often to be ended")

    def _record(self, place: str, family: Family, now: float) -> Record:
        until = min(family.ends, now + self._config.idle)
        return Record(KIND, place, family.as_json(), until)

    def _hash(self, secret: str) -> str:
        return self._store.peppers().hash(secret)

    def _fits(self, stored: str, secret: str) -> bool:
        return self._store.peppers().fits(stored, secret)
