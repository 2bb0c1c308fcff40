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
    _lookups: dict[tuple[str, str | None], list[tuple[int, IProvider]]] = field(
        factory=dict, init=False, repr=False
    )
    """
    For each realm and provider name, the providers that can look up users, which are several if
    they have the same name, or none. The name C{None} is for owners whose provider is not
    configured any more: with it stand the first provider of the realm that can look up users, and
    those of the same name. Each number is the place of the provider in the configuration.
    """

    def __attrs_post_init__(self) -> None:
        self._known = AuthenticationCache(self._clock, self._max_bytes)
        for place, provider in enumerate(self._providers):
            for name in (provider.name, None):
                able = self._lookups.setdefault((provider.realm, name), [])
                is_same = not able or able[0][1].name == provider.name
                if is_same and IUserLookup.providedBy(provider):
                    able.append((place, provider))

    def can_look_up(self, owner: Identity, known_to: str) -> bool:
        """
        Whether a provider can look up the owner of an API token without a credential.

        @param known_to: the name of the provider that identified the owner.
        """
        return bool(self._able(owner, known_to))

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
        able = self._able(owner, known_to)
        if able is None and not known_to.startswith(IMPORTED):
            raise Rejected("no provider of the owner's realm is configured any more")
        rejected = None
        for place, provider in able or ():
            look_up = partial(self._look_up, provider, owner.username)
            try:
                return await self._known.get(f"{place}:{owner.username}", look_up)
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

    def _able(self, owner: Identity, known_to: str) -> Sequence[tuple[int, IProvider]] | None:
        """
        Return the providers that can look up an owner, with their places in the configuration, or
        C{None} if no provider of the owner's realm is configured.
        """
        of_provider = self._lookups.get((owner.realm, known_to))
        return of_provider if of_provider is not None else self._lookups.get((owner.realm, None))
