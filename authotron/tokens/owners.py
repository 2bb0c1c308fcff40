"""What is true now of the owners of API tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from authotron.limits.lru_cache import DEFAULT_BYTES
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Identity, earliest
from authotron.model.token import IMPORTED
from authotron.plugin.cache import AuthenticationCache
from authotron.plugin.interfaces import IProvider, IUserLookup


@define(eq=False)
class Owners:
    """What is true now of those who own tokens."""

    _providers: Sequence[IProvider]
    _clock: IReactorTime
    _seconds: float
    _max_bytes: int = DEFAULT_BYTES
    _known: AuthenticationCache = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._known = AuthenticationCache(self._clock, self._max_bytes)

    def can_look_up(self, owner: Identity, provider: str) -> bool:
        """Whether anybody can say later if this user is still known."""
        return any(IUserLookup.providedBy(each) for each in self._providers_of(owner, provider))

    async def now(self, owner: Identity, known_to: str) -> Authentication:
        """
        The owner as known now, and until when that may be believed.

        @param known_to: the name of the provider that knew the owner.

        Where nobody can be asked, it is what was said when the token was made, or imported.

        @raise Rejected: the user is gone.
        @raise Unavailable: nobody can say.
        """
        sayers = self._providers_of(owner, known_to)
        if not sayers and not known_to.startswith(IMPORTED):
            raise Rejected("nobody judges users of the owner's realm any more")
        for provider in sayers:
            if IUserLookup.providedBy(provider):
                question = f"{len(provider.name)}:{provider.name}{owner.username}"
                ask = partial(self._ask, provider, owner.username)
                return await self._known.get(question, ask)
        return Authentication(owner, known_to)

    async def _ask(self, provider: IProvider, username: str) -> Authentication:
        until = self._clock.seconds() + self._seconds
        found = await IUserLookup(provider).look_up(username)
        return found._replace(
            provider=provider.name, fresh_until=earliest(until, found.fresh_until)
        )

    def _providers_of(self, owner: Identity, known_to: str) -> list[IProvider]:
        """The provider that knew the owner; if it is gone, the others of the realm."""
        mine = [provider for provider in self._providers if provider.realm == owner.realm]
        return [provider for provider in mine if provider.name == known_to] or mine
