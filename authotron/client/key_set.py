"""
A cached key set: fetched once for all callers, refreshed in the background, and fetched again for
unknown keys.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from authotron.client.errors import InvalidToken, Unavailable
from authotron.client.flights import Flights, Spawn, in_a_thread
from authotron.client.key_sources import Source
from authotron.client.keys import Key, Keys
from authotron.client.waiting import Wait

_MAX_STALE = 86400.0
"""Seconds for which stale keys are used if refreshing fails."""

_BACK_OFF = 1.0
"""Seconds between two attempts to fetch a key set that a request needs."""

_KEYS = "keys"
_log = logging.getLogger("authotron.client")


class KeySet:
    """
    The published keys of the gateway.

    Keys that are older than C{lifetime} are used further while a thread refreshes them, for a day
    if refreshing fails. A key that is not in the set causes one refresh, and then none for
    C{cool_down} seconds, so that forged JWTs cannot flood the gateway with requests.
    """

    def __init__(
        self,
        source: Source,
        *,
        lifetime: float = 300.0,
        cool_down: float = 10.0,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        spawn: Spawn = in_a_thread,
    ) -> None:
        self._source, self._clock = source, clock
        self._lifetime, self._cool_down, self._timeout = lifetime, cool_down, timeout
        self._flights: Flights[None] = Flights(spawn)
        self._keys: Keys = {}
        self._due = self._ends = self._retry = clock()
        self._searched = clock() - cool_down
        self._failure = ""
        # The number of a fetch of the key set; fetches are numbered from 1. Three numbers of
        # fetches are kept: of the last fetch that was started, of the last that succeeded, and of
        # the one that callers looking for an unknown key wait for.
        self._started = self._loaded = self._needed = 0

    def cached(self, kid: str, algorithm: str) -> Sequence[Key]:
        """
        Return the cached keys that fit a JWT, or an empty list; if the keys are old, start to
        refresh them in the background.
        """
        now = self._clock()
        if now < self._due:
            return self._keys.get((kid, algorithm), ())
        if now >= self._ends:
            return ()
        self._due = now + self._cool_down
        self._flights.start(_KEYS, self._refresh_in_background)
        return self._keys.get((kid, algorithm), ())

    async def find(
        self, kid: str, algorithm: str, wait: Wait, tried: Sequence[Key] = ()
    ) -> Sequence[Key]:
        """
        Return the keys for a JWT whose key is not among the cached keys.

        @param tried: keys with which the signature of the JWT was already checked without success.

        @raise InvalidToken: no key fits the JWT, apart from the keys in C{tried}, which have failed
            already.
        @raise Unavailable: the keys cannot be fetched.
        """
        if self._clock() >= self._ends:
            await self._fetch(self._loaded + 1, wait)
        keys = self._matching(kid, algorithm, tried)
        if keys:
            return keys
        self._plan_search()
        try:
            await self._fetch(self._needed, wait)
        except Unavailable:
            if tried:
                raise InvalidToken("signature") from None
            raise
        keys = self._matching(kid, algorithm, tried)
        if keys:
            return keys
        if tried:
            raise InvalidToken("signature")
        raise InvalidToken("unknown-key")

    def _plan_search(self) -> None:
        """
        When a JWT has an unknown key, make the caller wait for a new fetch of the key set, unless
        such a fetch was made a moment ago.
        """
        now = self._clock()
        if now >= self._searched + self._cool_down:
            self._searched, self._needed = now, self._started + 1

    def _matching(self, kid: str, algorithm: str, tried: Sequence[Key]) -> Sequence[Key]:
        keys = self._keys.get((kid, algorithm), ())
        return [key for key in keys if key not in tried]

    async def _fetch(self, number: int, wait: Wait) -> None:
        """
        Wait until the fetch with the given number, or a later fetch, has succeeded.

        A caller may have to wait for two fetches: one that had begun before the caller asked, and a
        new one after it.
        """
        while self._loaded < number:
            if self._failure and self._clock() < self._retry:
                raise Unavailable(self._failure)
            await wait(self._flights, _KEYS, lambda: self._refresh(number), self._timeout)

    def _refresh(self, number: int) -> None:
        """
        Fetch the keys, unless another caller has fetched them since this caller last looked up a
        key.
        """
        if self._loaded >= number:
            return
        self._started += 1
        this = self._started
        try:
            keys = self._source()
        except Unavailable as failure:
            self._failure, self._retry = str(failure), self._clock() + _BACK_OFF
            raise
        now = self._clock()
        self._keys, self._failure, self._loaded = keys, "", this
        self._due, self._ends = now + self._lifetime, now + self._lifetime + _MAX_STALE

    def _refresh_in_background(self) -> None:
        was_failing = bool(self._failure)
        try:
            self._refresh(self._loaded + 1)
        except Unavailable as failure:
            if not was_failing:  # logged once, until refreshing succeeds again
                left = round(self._ends - self._clock())
                _log.warning("refreshing the keys failed, used for %d s more: %s", left, failure)
            raise
