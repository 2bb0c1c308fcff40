"""The key set of an issuer, which is cached, refreshed, and fetched again for unknown keys."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.concurrency.single_flight import SingleFlight
from authotron.jose.claim_values import shown
from authotron.jose.jwk import Key, KeysByName, NoUsableKey, fitting
from authotron.jose.key_set_files import KeySetFile, RequestHeaders
from authotron.jose.key_sources import Discovery, FixedUrl, Source
from authotron.model.errors import Rejected, Unavailable
from authotron.net.http import RemoteConfig, WebClient
from authotron.net.world import World

_REFRESH_INTERVAL = 600.0
"""Seconds after which the keys of an issuer are fetched again."""

_MAX_STALE = 86_400.0
"""Seconds for which stale keys are used if refreshing fails."""

_COOLDOWN = 10.0
"""Seconds between two attempts to fetch a key set."""


@define(eq=False)
class KeySet:
    """
    The keys of an issuer by their C{kid}, cached and refreshed.

    Keys are fetched when they are first needed, and refreshed in the background after 10 minutes. A
    JWT that names an unknown key causes one more fetch, at most every 10 s, so JWTs with made-up
    key names do not flood the issuer. If fetching fails, or the key set has no usable key any more,
    the keys of the last successful fetch are used for a day at most. As long as no fetch has
    returned a usable key, all JWTs are refused.
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
    _last_failure: str = field(default="", init=False)
    _why_empty: str = field(default="", init=False)
    _why_stale: str = field(default="", init=False)
    _flights: SingleFlight[KeysByName] = field(
        factory=lambda: SingleFlight(outlives_callers=True), init=False
    )
    _refreshing: Deferred[None] | None = field(default=None, init=False, repr=False)
    _log = Logger()

    async def keys_named(self, kid: str, algorithm: str) -> Sequence[Key]:
        """
        Return the keys with a C{kid}, or else the only key without C{kid} that fits the algorithm.

        @raise Rejected: the issuer does not publish a key with this C{kid}.
        @raise Unavailable: the key set cannot be fetched.
        """
        before = self._keys
        keys = await self._current()
        if not (found := _named_or_unnamed(keys, kid, algorithm)) and keys is before:
            found = _named_or_unnamed(await self.search(), kid, algorithm)
        if not found:
            message = "the JWT is signed with a key that the issuer does not publish"
            raise Rejected(f"{message}: {shown(kid)}")
        return found

    async def only_key(self, algorithm: str) -> Sequence[Key]:
        """
        Return the only key of the set that fits an algorithm, for a JWT that names no key.

        @raise Rejected: no key, or more than one key, fits the algorithm.
        @raise Unavailable: the key set cannot be fetched.
        """
        before = self._keys
        keys = await self._current()
        if not fitting(keys, algorithm) and keys is before:
            keys = await self.search()
        found = fitting(keys, algorithm)
        if len(found) != 1:
            raise Rejected(
                f"the JWT header names no key (kid), and {len(found)} keys of the issuer fit "
                f"{algorithm}"
            )
        return found

    async def search(self) -> KeysByName:
        """
        Fetch the key set again, because the issuer may have added a key; at most once in 10 s.

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
        Fetch the keys if none are cached, and wait for a refresh that is due or under way.

        @raise Unavailable: the key set cannot be fetched, or has no usable key. The keys that an
            earlier fetch returned may still be in use.
        """
        keys = await self._current()
        if self._is_fetching:
            keys = await self._fetch_once()
        if self._why_stale:
            raise Unavailable(self._why_stale)
        if not keys:
            raise Unavailable(self._why_empty)

    @property
    def cached(self) -> KeysByName:
        """The cached keys of the issuer, or none before the first fetch."""
        return self._keys or {}

    def renew(self) -> None:
        """
        Mark the key set as stale, so that the next request that needs a key starts a refresh in the
        background.
        """
        self._is_due = True

    @property
    def is_at_hand(self) -> bool:
        """Whether keys are cached and not too stale to be used."""
        return self._keys is not None and self._clock.seconds() < self._fetched + _MAX_STALE

    @property
    def decides_until(self) -> float | None:
        """
        The time until which a decision that is made now with the cached keys may be used, in
        seconds since the epoch, or C{None} if no refresh is due.

        While a refresh is due or under way, the time that is returned lies in the past, because the
        refresh may remove the key on which the decision relies. After a failed refresh the time
        that is returned is the time of the next attempt to refresh.
        """
        if self._is_fetching:
            return 0.0
        is_due = self._is_due or self._clock.seconds() >= self._fetched + _REFRESH_INTERVAL
        return self._tried + _COOLDOWN if is_due else None

    def knows(self, kid: str) -> bool:
        """Whether L{keys_named} returns or rejects at once, without fetching the key set."""
        if not self.is_at_hand or self._keys is None:
            return False
        may_search = self._is_fetching or self._clock.seconds() >= self._searched + _COOLDOWN
        return self.names(kid) or not may_search

    def names(self, kid: object) -> bool:
        """Whether a key with this C{kid} is cached."""
        return isinstance(kid, str) and kid != "" and kid in (self._keys or ())

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
            self._note_failure(str(unavailable))
        except Exception:  # noqa: BLE001 - an unexpected exception; no request waits for the refresh and could fail
            self._log.failure("refreshing a key set failed", event="jwks.refresh.broken")

    def _note_failure(self, reason: str) -> None:
        """Log why refreshing failed, once until the reason changes or refreshing succeeds."""
        if reason != self._last_failure:
            self._last_failure = reason
            self._log.warn(
                "refreshing a key set failed, its keys of {age} s ago remain in use for up to "
                "{longest} s: {reason}",
                age=round(self._clock.seconds() - self._fetched),
                longest=round(_MAX_STALE),
                reason=reason,
                event="jwks.refresh.failed",
            )

    async def _fetch_once(self) -> KeysByName:
        return await self._flights.result("keys", self._refresh)

    async def _refresh(self) -> KeysByName:
        self._tried, self._is_fetching, self._has_failed = self._clock.seconds(), True, True
        try:
            keys = await self._source()
        except Unavailable as why:
            if self._keys or not isinstance(why, NoUsableKey):
                self._why_stale, self._is_due = str(why), True
                raise
            keys, self._why_empty = {}, str(why)
        finally:
            self._is_fetching = False
        self._keys, self._fetched, self._has_failed = keys, self._clock.seconds(), False
        self._is_due, self._last_failure, self._why_stale = False, "", ""
        return keys


def _named_or_unnamed(keys: KeysByName, kid: str, algorithm: str) -> Sequence[Key]:
    if kid in keys:
        return keys[kid]
    unnamed = [key for key in keys.get("", ()) if algorithm in key.algorithms]
    return unnamed if len(unnamed) == 1 else ()


def key_set(
    config: RemoteConfig,
    world: World,
    web: WebClient,
    *,
    url: str | None,
    issuer: str,
    headers: RequestHeaders | None = None,
) -> KeySet:
    """
    Return the key set at a URL; if there is no URL, return the key set that the issuer names.

    A reload keeps a key set with its cached keys, unless its URL or its HTTP settings have changed.
    Without the cached keys, all JWTs of an issuer that is unreachable after a reload would be
    refused. After a reload a key set is refreshed when it is next used, so that removed keys are
    not used for long.
    """
    sent = headers or RequestHeaders()
    connections = world.limit_connections(config.connections)
    place = (url, None) if url is not None else (None, issuer)
    reached = (config.trust(), config.proxies(), config.timeout, world.timeout, connections)
    name = (KeySet, place, sent, *reached)
    source: Source = (
        Discovery(web, world.clock, issuer, sent) if url is None else FixedUrl(web, url, sent)
    )
    return _kept(world, name, source)


def key_set_in_file(world: World, path: Path) -> KeySet:
    """Return the key set in a file; a reload keeps the cached keys until the file is read again."""
    return _kept(world, (KeySet, path), KeySetFile(path))


def _kept(world: World, name: Hashable, source: Source) -> KeySet:
    known = world.kept_across_reloads.get(name)
    if isinstance(known, KeySet):
        known.renew()
        return known
    world.kept_across_reloads[name] = created = KeySet(world.clock, source)
    return created
