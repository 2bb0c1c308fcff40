"""Tokens kept in this process alone, for tests and for trying out. They end with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import urandom
from typing import ClassVar, Literal

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.errors import Taken
from authotron.stores import ITokenStore, StoreConfig, Wanted, tokens_of
from authotron.tokens import CHANGEABLE, Row, Token, from_row
from authotron.world import World


class Config(StoreConfig):
    """`type: memory`: tokens are lost when the process ends."""

    makes_pepper: ClassVar[bool] = True

    type: Literal["memory"]


@implementer(ITokenStore)
@define(eq=False)
class MemoryStore:
    """Keeps tokens in a dictionary, as rows like the others do."""

    _clock: IReactorTime | None = None
    type: str = field(default="memory", init=False)
    pepper: bytes | None = field(factory=lambda: urandom(32), init=False, repr=False)
    _rows: dict[str, Row] = field(factory=dict, init=False, repr=False)

    async def open(self) -> None:
        """There is nothing to connect to."""

    async def close(self) -> None:
        """What is kept may be wanted after a reload."""

    async def reach(self) -> None:
        """It is always there."""

    async def add(self, token: Token) -> None:
        if token.id in self._rows:
            raise Taken
        self._rows[token.id] = token.row()

    async def get(self, id_: str) -> Token | None:
        row = self._rows.get(id_)
        return None if row is None else from_row(row)

    async def listed(self, wanted: Wanted) -> Sequence[Token]:
        fitting = [self._rows[id_] for id_ in sorted(self._rows) if self._fits(id_, wanted)]
        return await tokens_of(fitting[: wanted.most], self._clock)

    def _fits(self, id_: str, wanted: Wanted) -> bool:
        row = self._rows[id_]
        return (
            id_ > wanted.after
            and wanted.realm in (None, row["realm"])
            and wanted.username in (None, row["username"])
        )

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        assert changes.keys() <= CHANGEABLE
        if id_ not in self._rows:
            return False
        self._rows[id_] = {**self._rows[id_], **changes}
        return True

    async def remove(self, id_: str) -> bool:
        return self._rows.pop(id_, None) is not None

    async def sweep(self, now: float) -> int:
        over = [id_ for id_, row in self._rows.items() if (row["expires"] or now + 1) <= now]
        for id_ in over:
            del self._rows[id_]
        return len(over)


def make(config: Config, world: World) -> ITokenStore:
    """Build the store from its section."""
    return MemoryStore(world.clock)
