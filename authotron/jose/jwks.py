"""The key set of an issuer: cached, refreshed in the background, searched for unknown keys."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.concurrency.single_flight import SingleFlight
from authotron.jose.jwk import Key, KeysByName
from authotron.jose.key_sources import Discovery, FixedUrl, Source
from authotron.model.errors import Rejected, Unavailable
from authotron.net.http import RemoteConfig, WebClient
from authotron.net.world import World

_REFRESH_INTERVAL = 600.0
"""Seconds after which keys are fetched again."""

_MAX_STALE = 86_400.0
"""Seconds for which stale keys are used if refreshing fails."""

_COOLDOWN = 10.0
"""Seconds between two attempts to fetch a key set."""


@define(eq=False)
class KeySet:
    """
    The keys of an issuer by name, cached and refreshed.

    Keys are fetched when they are first needed, and refreshed in the background after 10 minutes. A
    JWT that names an unknown key causes one more fetch, at most every 10 s, so JWTs with made-up
    key names do not flood the issuer. If fetching fails, the keys of the last successful fetch are
    used for a day at most.
    """

    _clock: IReactorTime
    _source: Source
    _keys: KeysByName | None = field(default=None, init=False, repr=False)
    _fetched: float = field(default=0.0, init=False)
    _tried: float = field(default=0.0, init=False)
    _searched: float = field(default=float("-inf"), init=False)
    _is_fetching: bool = field(default=False, init=False)
    _has_failed: bool = field(default=False, init=False)
    _is_due: bool = field(default=False, init=False)
    _flights: SingleFlight[KeysByName] = field(
        factory=lambda: SingleFlight(outlives_callers=True), init=False
    )
    _refreshing: Deferred[None] | None = field(default=None, init=False, repr=False)
    _log = Logger()

    async def keys_named(self, kid: str) -> Sequence[Key]:
        """
        Return the keys of a name.

        @raise Rejected: the issuer publishes no key of this name.
        @raise Unavailable: the key set cannot be fetched.
        """
        before = self._keys
        keys = await self._current()
        if kid not in keys and keys is before:
            keys = await self._search()
        if kid not in keys:
            raise Rejected("signed with a key that the issuer does not publish")
        return keys[kid]

    async def _search(self) -> KeysByName:
        """
        Fetch the key set once more, because it may have a new key by now.

        @raise Unavailable: fetching failed, now or in the last 10 s.
        """
        now = self._clock.seconds()
        if self._is_fetching:
            return await self._fetch_once()
        if now >= self._searched + _COOLDOWN:
            self._searched = now
            return await self._fetch_once()
        if self._has_failed or self._keys is None:
            raise Unavailable("fetching the key set again for an unknown key failed")
        return self._keys

    async def check_reachable(self) -> None:
        """
        Fetch the keys if none are cached.

        @raise Unavailable: the key set cannot be fetched.
        """
        await self._current()

    def renew(self) -> None:
        """Let the next request for a key refresh the key set in the background."""
        self._is_due = True

    @property
    def is_at_hand(self) -> bool:
        """Whether keys are cached and not too stale to be used."""
        return self._keys is not None and self._clock.seconds() < self._fetched + _MAX_STALE

    def knows(self, kid: str) -> bool:
        """Whether L{keys_named} returns or rejects at once, without fetching the key set."""
        if not self.is_at_hand or self._keys is None:
            return False
        may_search = self._is_fetching or self._clock.seconds() >= self._searched + _COOLDOWN
        return kid in self._keys or not may_search

    async def _current(self) -> KeysByName:
        now = self._clock.seconds()
        if self._keys is None or now >= self._fetched + _MAX_STALE:
            return await self._fetch_once()
        due = self._is_due or now >= self._fetched + _REFRESH_INTERVAL
        if due and now >= self._tried + _COOLDOWN:
            self._refreshing = Deferred.fromCoroutine(self._refresh_in_background())
        return self._keys

    async def _refresh_in_background(self) -> None:
        """Refresh the key set; no request waits, because the cached keys are used meanwhile."""
        try:
            await self._fetch_once()
        except Unavailable as unavailable:
            self._log.warn(
                "refreshing a key set failed, its keys of {age} s ago remain in use: {reason}",
                age=round(self._clock.seconds() - self._fetched),
                reason=str(unavailable),
                event="jwks.refresh.failed",
            )
        except Exception:  # noqa: BLE001 - a defect; no request waits for the refresh and fails
            self._log.failure("refreshing a key set failed", event="jwks.refresh.broken")

    async def _fetch_once(self) -> KeysByName:
        return await self._flights.result("keys", self._refresh)

    async def _refresh(self) -> KeysByName:
        self._tried, self._is_fetching, self._has_failed = self._clock.seconds(), True, True
        try:
            keys = await self._source()
        finally:
            self._is_fetching = False
        self._keys, self._fetched, self._has_failed = keys, self._clock.seconds(), False
        self._is_due = False
        return keys


def key_set(
    config: RemoteConfig, world: World, web: WebClient, *, url: str | None, issuer: str
) -> KeySet:
    """
    Return the key set at a URL, or that of an issuer if there is no URL.

    A reload keeps the key set with its cached keys, unless its URL or the way to reach it changed.
    Otherwise all JWTs of an issuer would be refused if the issuer is unreachable after the reload.
    The kept key set is refreshed when it is next used, so removed keys are not used for long.
    """
    connections = world.limit_connections(config.connections)
    place = (url, None) if url is not None else (None, issuer)
    name = (KeySet, place, config.trust(), config.timeout, world.timeout, connections)
    known = world.kept_across_reloads.get(name)
    if isinstance(known, KeySet):
        known.renew()
        return known
    source = Discovery(web, world.clock, issuer) if url is None else FixedUrl(web, url)
    world.kept_across_reloads[name] = created = KeySet(world.clock, source)
    return created
