"""Record when API tokens were last used, and log which revoked API tokens clients still present."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from cachetools import TTLCache
from twisted.internet.interfaces import IReactorTime

from authotron.model.token import PlainToken
from authotron.telemetry import audit
from authotron.tokens.bounded_store import StoreClient

_MAX_NOTES = 10_000
"""
Maximum number of API tokens whose last use is kept in memory until the next
write to the store.
"""

_MAX_LOGGED, _LOG_INTERVAL = 1_000, 60.0
"""
Two limits of the log of revoked API tokens that clients still use: the maximum number of tokens
that are remembered as logged, and the seconds until a token is logged again.
"""


@define(eq=False)
class LastUses:
    """
    The time of the last use of each API token, which is kept in memory and written to the store
    only once a minute, to save a write for every request.
    """

    _store: StoreClient
    _clock: IReactorTime
    _times: dict[str, float] = field(factory=dict, init=False)

    def note(self, id_: str) -> None:
        """
        Keep in memory that the API token with this id was used now, unless the times of 10,000
        other API tokens are in memory already.
        """
        if id_ in self._times or len(self._times) < _MAX_NOTES:
            self._times[id_] = self._clock.seconds()

    async def write(self) -> None:
        """
        Write to the token store the time at which each API token was last used.

        @raise Unavailable: the store does not answer; times that were not written are kept.
        """
        for id_, time in [*self._times.items()]:
            await self._store.change(id_, {"used": time})
            if self._times.get(id_) == time:
                del self._times[id_]


@define(eq=False)
class RevokedUses:
    """
    Logs which revoked API tokens clients still present: at most one line a
    minute for each token.
    """

    _store: StoreClient
    _clock: IReactorTime
    _logged: TTLCache[str, None] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._logged = TTLCache(_MAX_LOGGED, _LOG_INTERVAL, self._clock.seconds)

    async def log(self, presented: PlainToken, client: Callable[[], str | None]) -> None:
        """
        Log that a client presents a revoked API token, unless its use was logged in the last
        minute.

        @param client: a function that returns the address of the client.

        @raise Unavailable: the store does not answer.
        """
        if presented.id in self._logged:
            return
        revoked = await self._store.find_revoked(presented.id)
        if revoked is not None and self._store.peppers().has_mark(revoked.mark, presented.text):
            self._logged[presented.id] = None
            audit.used_after_revocation(revoked, client() or "")
