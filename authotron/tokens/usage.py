"""When API tokens were last used, and which revoked ones clients still present."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from cachetools import TTLCache
from twisted.internet.interfaces import IReactorTime

from authotron.model.token import PlainToken
from authotron.telemetry import audit
from authotron.tokens.bounded_store import StoreClient

_MAX_NOTES = 10_000
"""API tokens whose last use is held in memory at most, until the next write."""

_MAX_LOGGED, _LOG_INTERVAL = 1_000, 60.0
"""Revoked API tokens whose use was logged, and the seconds until a further use is logged."""


@define(eq=False)
class LastUses:
    """
    The last use of each API token, held in memory until it is written to the store.

    Writing at once would cost every request a write to the store.
    """

    _store: StoreClient
    _clock: IReactorTime
    _times: dict[str, float] = field(factory=dict, init=False)

    def note(self, id_: str) -> None:
        """Note that the API token of this id is used now; drop the note if memory is full."""
        if id_ in self._times or len(self._times) < _MAX_NOTES:
            self._times[id_] = self._clock.seconds()

    async def write(self) -> None:
        """
        Write all notes to the store.

        @raise Unavailable: the store does not answer; notes that were not written are kept.
        """
        for id_, time in [*self._times.items()]:
            await self._store.change(id_, {"used": time})
            if self._times.get(id_) == time:
                del self._times[id_]


@define(eq=False)
class RevokedUses:
    """The log of revoked API tokens that clients still present: one line a minute for each."""

    _store: StoreClient
    _clock: IReactorTime
    _logged: TTLCache[str, None] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._logged = TTLCache(_MAX_LOGGED, _LOG_INTERVAL, self._clock.seconds)

    async def log(self, presented: PlainToken, client: Callable[[], str | None]) -> None:
        """
        Log the use of an API token if it was revoked and was not logged in the last minute.

        @param client: returns the address of the client.

        @raise Unavailable: the store does not answer.
        """
        if presented.id in self._logged:
            return
        revoked = await self._store.find_revoked(presented.id)
        if revoked is not None and self._store.peppers().has_mark(revoked.mark, presented.text):
            self._logged[presented.id] = None
            audit.used_after_revocation(revoked, client() or "")
