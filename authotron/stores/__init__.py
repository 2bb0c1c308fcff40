"""Stores: where tokens of our own are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from attrs import frozen
from pydantic import Field, field_validator, model_validator
from twisted.internet.interfaces import IReactorTime
from zope.interface import Attribute, Interface

from authotron.concurrency.pieces import Pieces
from authotron.config.section import (
    Name,
    Names,
    Seconds,
    Secret,
    Section,
)
from authotron.model.token import (
    Revoked,
    Row,
    Token,
    from_row,
    is_imported,
)

SHORTEST_PEPPER = 16

MOST_REVOKED, MOST_REVOKED_OF_OWNER = 10_000, 1_000
"""Revoked tokens that a store remembers, and those of one owner among them."""

REVOKED_FOR = 30 * 86_400.0
"""Seconds for which a store remembers that a token was revoked."""

IMPORTED_REVOKED_FOR = 10 * 366 * 86_400.0
"""The same for imported tokens: as long as the service may exist from which they could be copied
again."""

AT_ONCE = 16
"""Tokens of a list that are read together: those of earlier versions may have 60 kB each."""


class StoreConfig(Section):
    """The keys that every store has."""

    makes_pepper: ClassVar[bool] = False
    """Whether the store makes a pepper of its own and keeps it."""

    type: str = Field(description="what it is; the name of the module that implements it")
    enabled: bool = Field(default=True, description="whether there are tokens of our own at all")
    compat: bool = Field(default=True, description="whether `GET /token` makes a token")
    admins: dict[Name, Names] = Field(
        default_factory=dict,
        description="for each realm the roles that see and revoke the tokens of all",
    )
    pepper: Secret | None = Field(
        default=None,
        description="the key under which tokens are hashed; several, newest first, are separated "
        "by blanks or line ends",
    )
    imported: bool = Field(
        default=False,
        description="whether opaque tokens of another form are looked up, too: those that `tokens "
        "import` has copied",
    )
    acl_proxy_pepper: Secret | None = Field(
        default=None,
        description="the PEPPER of the acl-proxy that tokens were imported from; several are "
        "separated by line ends",
    )
    timeout: Seconds = Field(default=3, gt=0, description="seconds the store may take to answer")

    @model_validator(mode="after")
    def _used_pepper(self) -> StoreConfig:
        if self.acl_proxy_pepper is not None and not self.imported:
            raise ValueError("acl_proxy_pepper has no effect without imported: true")
        return self

    @field_validator("pepper")
    @classmethod
    def _long_enough(cls, pepper: Secret | None) -> Secret | None:
        if pepper is None:
            return None
        keys = pepper.get_secret_value().split()
        if not keys or any(len(key.encode()) < SHORTEST_PEPPER for key in keys):
            raise ValueError(f"needs {SHORTEST_PEPPER} bytes; try `authotron generate-secret`")
        return pepper

    def peppers(self) -> list[bytes]:
        """The configured ones, newest first."""
        return [key.encode() for key in _text(self.pepper).split()]

    def acl_proxy_peppers(self) -> list[bytes]:
        """Those of an acl-proxy."""
        return [key.encode() for key in _text(self.acl_proxy_pepper).splitlines()]


def _text(secret: Secret | None) -> str:
    return secret.get_secret_value() if secret else ""


@frozen
class Wanted:
    """
    Which tokens to list.

    @ivar realm: of their owners; C{None} is any. So with C{username}.
    @ivar after: the id behind which to begin; ids sort by age.
    @ivar below: if not C{None}, only the token of this id and those that descend from it.
    """

    realm: str | None = None
    username: str | None = None
    after: str = ""
    most: int = 100
    below: str | None = None


def remembered_until(row: Row, now: float) -> float:
    """Until when the revocation of a token is remembered."""
    return now + (IMPORTED_REVOKED_FOR if is_imported(row) else REVOKED_FOR)


async def tokens_of(rows: Iterable[Row], clock: IReactorTime | None) -> list[Token]:
    """
    Read several rows, in pieces.

    Rows of earlier versions may have 60 kB each, which take 1 ms of processor time.

    @param clock: C{None} if there is no reactor to give way to.
    """
    found, pieces = [], Pieces(clock) if clock else None
    for row in rows:
        found.append(from_row(row))
        if pieces is not None:
            await pieces.add(len(row["fixed"]))
    return found


class ITokenStore(Interface):
    """
    Keeps tokens.

    It knows nothing of what is good or bad; it only keeps. Everything but C{close} raises
    L{Unavailable} while the store cannot be used.
    """

    type: str = Attribute("the documented type, as in the configuration")
    pepper: bytes | None = Attribute(
        "a key that lies beside what is kept; None: the configuration has to say. Set once open"
    )

    async def open() -> None:
        """
        Connect, or create what is missing. It may be tried again.

        @raise Unavailable: not now.
        @raise ConfigError: never; somebody must change something.
        """

    async def close() -> None:
        """Let go of everything; what waits is given up."""

    async def reach() -> None:
        """
        Try whether it is there.

        @raise Unavailable: it is not.
        """

    async def add(token: Token, most: int | None = None) -> None:
        """
        Keep a new token.

        @param most: how many tokens its owner may have that count and have not expired when the
            new one is created, with it; C{None} for any number.

        @raise Taken: there is one of its id.
        @raise TooMany: its owner has C{most} of them.
        """

    async def get(id_: str) -> Token | None:
        """The token of this id, expired or not."""

    async def listed(wanted: Wanted) -> Sequence[Token]:
        """Those that are wanted, in the order of their ids."""

    async def change(id_: str, changes: Mapping[str, str | float | None]) -> bool:
        """Change some of L{CHANGEABLE}; say whether there was such a token."""

    async def remove(id_: str, now: float) -> Sequence[str]:
        """
        Forget a token with all that descend from it, and remember that they were revoked.

        @return: the ids of those that were removed, its own first. If several callers remove a
            token at once, each id is returned to one of them only.
        """

    async def revoked(id_: str) -> Revoked | None:
        """
        Say whether a token of this id was removed.

        The last L{MOST_REVOKED} are remembered, for L{REVOKED_FOR} seconds each, and of one owner
        the last L{MOST_REVOKED_OF_OWNER}: no owner pushes out what others have revoked. Imported
        ones, of which no client can make any, are remembered beside these for
        L{IMPORTED_REVOKED_FOR} seconds. What ends later than L{REVOKED_FOR} seconds from now is
        imported.
        """

    async def sweep(now: float) -> int:
        """Forget those that have expired; say how many there were."""
