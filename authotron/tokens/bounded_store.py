"""The token store as its users see it: waited for while it opens, but never without end."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.concurrency.racing import with_timeout
from authotron.concurrency.waiters import Waiters
from authotron.config.plugins import StoreConfig
from authotron.model.errors import Unavailable
from authotron.model.naming import spellings
from authotron.model.token import Revoked, Token
from authotron.plugin.interfaces import ITokenStore, TokenQuery
from authotron.tokens.peppers import Peppers

T = TypeVar("T")
P = ParamSpec("P")


@implementer(ITokenStore)
@define(eq=False)
class StoreClient:
    """
    A store, asked under the rules of one configuration.

    @ivar backend: what keeps the tokens.
    """

    backend: ITokenStore
    _rules: StoreConfig
    _clock: IReactorTime
    _spare_pepper: bytes | None = field(default=None, repr=False)
    _opening: Waiters[None] | None = field(default=None, init=False)

    @property
    def type(self) -> str:
        return self.backend.type

    @property
    def pepper(self) -> bytes | None:
        return self.backend.pepper

    async def open(self) -> None:
        opening = self._opening = Waiters()
        try:
            await with_timeout(self._clock, self._rules.timeout, self.backend.open())
        finally:
            self._opening = None
            opening.succeed(None)

    async def close(self) -> None:
        await self.backend.close()

    async def check_reachable(self) -> None:
        await self._ask(self.backend.check_reachable)

    async def add(self, token: Token, most: int | None = None) -> None:
        await self._ask(self.backend.add, token, most)

    async def get(self, id_: str) -> Token | None:
        return await self._ask(self.backend.get, id_)

    async def listed(self, wanted: TokenQuery) -> Sequence[Token]:
        """
        The interface of L{ITokenStore}.

        Earlier versions stored names of owners in the spelling in which providers had them.
        """
        spelled = [
            evolve(wanted, realm=realm, username=username)
            for realm in _spellings(wanted.realm)
            for username in _spellings(wanted.username)
        ]
        if len(spelled) == 1:
            return await self._ask(self.backend.listed, wanted)
        found = [token for each in spelled for token in await self._ask(self.backend.listed, each)]
        return sorted(found, key=lambda token: token.id)[: wanted.most]

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        return await self._ask(self.backend.change, id_, changes)

    async def remove(self, id_: str, now: float) -> Sequence[str]:
        return await self._ask(self.backend.remove, id_, now)

    async def revoked(self, id_: str) -> Revoked | None:
        return await self._ask(self.backend.revoked, id_)

    async def delete_expired(self, now: float) -> int:
        return await self._ask(self.backend.delete_expired, now)

    async def opened(self) -> None:
        """
        Wait for the end of an attempt to open it, if there is one.

        @raise Unavailable: it takes too long.
        """
        await with_timeout(self._clock, self._rules.timeout, self._opened())

    async def _ask(
        self, question: Callable[P, Coroutine[Any, Any, T]], *given: P.args, **named: P.kwargs
    ) -> T:
        async def asked() -> T:
            await self._opened()
            return await question(*given, **named)

        return await with_timeout(self._clock, self._rules.timeout, asked())

    async def _opened(self) -> None:
        if self._opening is not None:
            await self._opening.join()

    def peppers(self) -> Peppers:
        """
        Configured ones first, then the one beside what is stored.

        @raise Unavailable: there are none as long as the store is not open.
        """
        spare = self.backend.pepper or self._spare_pepper
        keys = [*self._rules.peppers(), *([spare] if spare else [])]
        if not keys:
            raise Unavailable("the token store is not open yet")
        return Peppers(keys)


def _spellings(name: str | None) -> Sequence[str | None]:
    return [None] if name is None else spellings(name)


def derived_pepper(secret: str) -> bytes:
    """A key that follows from a secret, and from which the secret does not follow."""
    return hmac.digest(secret.encode(), b"authotron: pepper of the token store", "sha256")
