"""Look up the current roles, attributes and scopes of the owners of API tokens."""

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
from authotron.plugin import results
from authotron.plugin.cache import AuthenticationCache
from authotron.plugin.interfaces import IProvider, IUserLookup


@define(eq=False)
class Owners:
    """
    Looks up the current identities of the owners of API tokens, and caches them for C{tokens.users}
    seconds.
    """

    _providers: Sequence[IProvider]
    _clock: IReactorTime
    _seconds: float
    _max_bytes: int = DEFAULT_BYTES
    _known: AuthenticationCache = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._known = AuthenticationCache(self._clock, self._max_bytes)

    def can_look_up(self, owner: Identity, known_to: str) -> bool:
        """
        Whether a provider can look up the owner of an API token without a credential.

        @param known_to: the name of the provider that identified the owner.
        """
        return any(IUserLookup.providedBy(each) for each in self._providers_of(owner, known_to))

    def is_configured(self, owner: Identity, known_to: str) -> bool:
        """
        Return whether the provider that identified a user is still configured; no provider
        identified the owners of imported API tokens.
        """
        return known_to.startswith(IMPORTED) or any(
            (each.name, each.realm) == (known_to, owner.realm) for each in self._providers
        )

    async def now(self, owner: Identity, known_to: str) -> Authentication:
        """
        Return the current identity of the owner of an API token, and the time until which it may be
        cached.

        If no provider can look up the owner, return the identity that is stored with the API token.

        @param known_to: the name of the provider that identified the owner.

        @raise Rejected: the owner no longer exists, or no provider of the owner's realm is
            configured any more.
        @raise Unavailable: the provider that can look up the owner does not answer.
        """
        providers = self._providers_of(owner, known_to)
        if not providers and not known_to.startswith(IMPORTED):
            raise Rejected("no provider of the owner's realm is configured any more")
        rejected = None
        for provider in _same_name([p for p in providers if IUserLookup.providedBy(p)]):
            key = f"{self._providers.index(provider)}:{owner.username}"
            look_up = partial(self._look_up, provider, owner.username)
            try:
                return await self._known.get(key, look_up)
            except Rejected as error:
                rejected = error
        if rejected is not None:
            raise rejected
        return Authentication(owner, known_to)

    async def _look_up(self, provider: IProvider, username: str) -> Authentication:
        until = self._clock.seconds() + self._seconds
        found = await IUserLookup(provider).look_up(username)
        if (wrong := results.check_authentication(found, provider)) is not None:
            raise wrong
        return found._replace(
            provider=provider.name, fresh_until=earliest(until, found.fresh_until)
        )

    def _providers_of(self, owner: Identity, known_to: str) -> list[IProvider]:
        """
        Return the provider that identified the owner; if this provider is not configured any more,
        return all providers of the owner's realm.
        """
        candidates = [provider for provider in self._providers if provider.realm == owner.realm]
        return [provider for provider in candidates if provider.name == known_to] or candidates


def _same_name(providers: list[IProvider]) -> list[IProvider]:
    """
    Return the first of the providers, together with all other providers that have the same name as
    the first.

    Several providers may have the same name.
    """
    return [provider for provider in providers if provider.name == providers[0].name]
