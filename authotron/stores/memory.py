"""`type: memory`: API tokens in the memory of one process, for tests and trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from os import urandom
from typing import ClassVar, Literal

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.config.plugins import StoreConfig
from authotron.model.errors import TokenExists, TooMany
from authotron.model.identity import Identity
from authotron.model.policy_document import PolicyDocument
from authotron.model.token import (
    CHANGEABLE,
    Revoked,
    Row,
    Token,
    counts_towards_limit,
    from_row,
    mark_of,
)
from authotron.net.world import World
from authotron.plugin.interfaces import (
    IChecksPepper,
    IKeepsPolicies,
    IKeepsRecords,
    ITokenStore,
    TokenQuery,
)
from authotron.plugin.records_on_demand import RecordKeeper, RecordsOnDemand
from authotron.plugin.token_rows import (
    MOST_REVOKED,
    MOST_REVOKED_OF_OWNER,
    REVOKED_FOR,
    remembered_until,
    tokens_of,
)


class Config(StoreConfig):
    """`type: memory`: API tokens in memory; they are lost when the process ends."""

    makes_pepper: ClassVar[bool] = True

    type: Literal["memory"]


@implementer(IChecksPepper, IKeepsPolicies, IKeepsRecords)
@define(eq=False)
class MemoryStore(RecordsOnDemand):
    """Keeps API tokens in a dictionary, in the form of the rows that databases store."""

    _clock: IReactorTime | None = None
    type: str = field(default="memory", init=False)
    pepper: bytes | None = field(factory=lambda: urandom(32), init=False, repr=False)
    _rows: dict[str, Row] = field(factory=dict, init=False, repr=False)
    _revoked: dict[str, Revoked] = field(factory=dict, init=False, repr=False)
    _pepper_check: str | None = field(default=None, init=False, repr=False)
    _policies: PolicyDocument | None = field(default=None, init=False, repr=False)

    async def open(self) -> None:
        """Do nothing: the store of type memory has no database to connect to."""

    async def close(self) -> None:
        """
        Do nothing when the store is closed, because its tokens must survive a reload of the
        configuration.
        """

    def _make_keeper(self) -> RecordKeeper:
        from authotron.stores.memory_records import MemoryRecords  # noqa: PLC0415 - only needed for records

        return MemoryRecords()

    async def check_reachable(self) -> None:
        """Do nothing: the memory of the process is always reachable."""

    async def pepper_check(self) -> str | None:
        return self._pepper_check

    async def set_pepper_check(self, value: str, earlier: str | None) -> None:
        if self._pepper_check == earlier:
            self._pepper_check = value

    async def policy_state(self) -> str | None:
        return None if self._policies is None else self._policies.state

    async def policies(self) -> PolicyDocument | None:
        return self._policies

    async def replace_policies(self, new: PolicyDocument, earlier: str | None) -> bool:
        if await self.policy_state() != earlier:
            return False
        self._policies = new
        return True

    async def add(self, token: Token, most: int | None = None) -> None:
        if token.id in self._rows:
            raise TokenExists
        if most is not None and self._count_of_owner(token.owner, token.created) >= most:
            raise TooMany
        self._rows[token.id] = token.row()

    def _count_of_owner(self, owner: Identity, now: float) -> int:
        mine = (row for row in self._rows.values() if _is_of(row, owner.realm, owner.username))
        return sum(counts_towards_limit(row) for row in mine if not _has_expired(row, now))

    async def get(self, id_: str) -> Token | None:
        row = self._rows.get(id_)
        return None if row is None else from_row(row)

    async def list_tokens(self, wanted: TokenQuery) -> Sequence[Token]:
        ids = self._rows if wanted.below is None else self._tree(wanted.below)
        matching = (
            self._rows[id_]
            for id_ in sorted(ids)
            if id_ > wanted.after and _is_of(self._rows[id_], wanted.realm, wanted.username)
        )
        return await tokens_of(islice(matching, wanted.most), self._clock)

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        assert changes.keys() <= CHANGEABLE
        if id_ not in self._rows:
            return False
        self._rows[id_] = {**self._rows[id_], **changes}
        return True

    async def remove(self, id_: str, now: float) -> Sequence[str]:
        removed = self._tree(id_)
        for each in removed:
            row = self._rows.pop(each)
            mark, until = mark_of(row["hashed"]), remembered_until(row, now)
            owner = (row["realm"], row["username"])
            self._revoked[each] = Revoked(each, *owner, mark, until)
            mine = [
                old.id
                for old in self._revoked.values()
                if (old.realm, old.username) == owner and old.until <= now + REVOKED_FOR
            ]
            for old_id in mine[:-MOST_REVOKED_OF_OWNER]:
                del self._revoked[old_id]
        self._purge_revocations(now)
        return removed

    def _tree(self, id_: str) -> list[str]:
        """Return the ids of an API token and of all its descendants."""
        found = [id_] if id_ in self._rows else []
        # The loop appends the ids of children to the list that it iterates over, so it visits these
        # ids as well.
        for parent in found:
            found += [each for each, row in self._rows.items() if row.get("parent") == parent]
        return found

    async def find_revoked(self, id_: str) -> Revoked | None:
        return self._revoked.get(id_)

    async def delete_expired(self, now: float) -> int:
        expired = [id_ for id_, row in self._rows.items() if _has_expired(row, now)]
        for id_ in expired:
            del self._rows[id_]
        self._purge_revocations(now)
        await self._delete_expired_records(now)
        return len(expired)

    def _purge_revocations(self, now: float) -> None:
        """
        Delete the records of expired revocations, and the oldest records above the limit;
        dictionaries keep the order of insertion.
        """
        some = [old.id for old in self._revoked.values() if old.until <= now + REVOKED_FOR]
        for place, id_ in enumerate(some):
            if len(some) - place <= MOST_REVOKED and self._revoked[id_].until > now:
                break
            del self._revoked[id_]


def _is_of(row: Row, realm: str | None, username: str | None) -> bool:
    return realm in (None, row["realm"]) and username in (None, row["username"])


def _has_expired(row: Row, now: float) -> bool:
    return row["expires"] is not None and row["expires"] <= now


def make(config: Config, world: World) -> ITokenStore:
    """Build the token store from the section C{store} of the configuration."""
    return MemoryStore(world.clock)
