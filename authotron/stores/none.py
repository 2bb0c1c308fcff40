"""`type: none`: no token store, so API tokens cannot be created or used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from attrs import define, field
from zope.interface import implementer

from authotron.config.plugins import StoreConfig
from authotron.model.errors import Unavailable
from authotron.model.token import Revoked, Token
from authotron.net.world import World
from authotron.plugin.interfaces import ITokenStore, TokenQuery


class Config(StoreConfig):
    """`type: none`: no token store; the same as `enabled: false`."""

    makes_pepper: ClassVar[bool] = True

    type: Literal["none"]


@implementer(ITokenStore)
@define(eq=False)
class NoStore:
    """A store that contains no API tokens and refuses to add one."""

    type: str = field(default="none", init=False)
    pepper: bytes | None = field(default=None, init=False)

    async def open(self) -> None:
        """Do nothing: the store of type none has no database to open."""

    async def close(self) -> None:
        """Do nothing: the store of type none has no database to close."""

    async def check_reachable(self) -> None:
        """Do nothing: the store of type none has no database to reach."""

    async def add(self, token: Token, most: int | None = None) -> None:
        raise Unavailable("no token store is configured (store.type: none)")

    async def get(self, id_: str) -> Token | None:
        return None

    async def list_tokens(self, wanted: TokenQuery) -> Sequence[Token]:
        return ()

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        return False

    async def remove(self, id_: str, now: float) -> Sequence[str]:
        return ()

    async def find_revoked(self, id_: str) -> Revoked | None:
        return None

    async def delete_expired(self, now: float) -> int:
        return 0


def make(config: Config, world: World) -> ITokenStore:
    """Build the token store from the section C{store} of the configuration."""
    return NoStore()
