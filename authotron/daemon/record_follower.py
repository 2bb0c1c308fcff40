"""
Follow the changes of the records, such as revocations, that gateways share through the token store.

This module is imported only if the configuration needs such records.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import was_cancelled
from authotron.gateway.records import SharedRecords
from authotron.model.errors import Unavailable
from authotron.tokens.bounded_store import StoreClient

INTERVAL = 0.5
"""
Seconds between two looks at the token store, if the store does not report a change, which causes a
look at once.
"""


@define(eq=False)
class RecordFollower:
    """
    Applies the changes of the records in the token store to this process.

    If the token store is unreachable, the known records stay in use, and the follower goes on from
    the change up to which it had read.

    @ivar store: the token store; a reload of the configuration may replace the object.
    @ivar on_look: a function that is called after each look at the token store, whether the store
        was reached or not.
    """

    store: StoreClient
    _records: SharedRecords
    _clock: IReactorTime
    on_look: Callable[[], object]
    _cursor: str | None = field(default=None, init=False)
    _following: Deferred[None] | None = field(default=None, init=False)
    _waiting: Deferred[None] | None = field(default=None, init=False)
    _has_changed: bool = field(default=False, init=False)
    _end_notices: Callable[[], None] | None = field(default=None, init=False)
    _log = Logger()

    def start(self) -> None:
        """
        Read changes from the token store now, and then regularly, and whenever the store reports a
        change.
        """
        with suppress(Unavailable):  # each look then fails for the same reason
            self._end_notices = self.store.on_change(self.notice)
        self._begin(0.0)

    def stop(self) -> None:
        """Stop looking at the token store."""
        end, self._end_notices = self._end_notices, None
        if end is not None:
            end()
        following, self._following = self._following, None
        if following is not None:
            following.cancel()

    def notice(self) -> None:
        """Look at the token store at once, because records have changed."""
        self._has_changed = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _begin(self, delay: float) -> None:
        self._following = Deferred.fromCoroutine(self._follow(delay))
        self._following.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        """Log an unexpected exception, and go on following the token store."""
        if was_cancelled(failure):
            return
        self._log.failure(
            "looking for changed records failed because of an internal error, trying again",
            failure,
            event="records.broken",
        )
        self._records.problem = "an internal error, see the log"
        self._begin(INTERVAL)
        self.on_look()

    async def _follow(self, delay: float) -> None:
        while True:
            await self._wait(delay)
            await self.look()
            delay = INTERVAL

    async def _wait(self, seconds: float) -> None:
        """Wait for some seconds, or until the token store reports a change."""
        if self._has_changed or not seconds:
            self._has_changed = False
            return
        waiting = self._waiting = Deferred()
        timer = self._clock.callLater(seconds, self.notice)
        try:
            await waiting
        finally:
            self._waiting = None
            self._has_changed = False
            if timer.active():
                timer.cancel()

    async def look(self) -> None:
        """
        Apply what has changed in the token store since the last look. If the token store is
        unreachable, log the reason once.
        """
        try:
            await self.read()
        except Unavailable as error:
            self._note_trouble(str(error) or "no answer in time")
        self.on_look()

    async def read(self) -> None:
        """
        Apply what has changed in the token store since the last time, and store the records again
        that the token store has lost.

        @raise Unavailable: the token store cannot be reached.
        """
        changes = await self.store.changes(self._cursor)
        trouble = self._records.problem
        self._records.adopt(changes)
        self._cursor = changes.cursor
        if trouble is not None:
            self._log.info("records in the token store can be read again", event="records.reached")
        await self._records.restore()

    def _note_trouble(self, reason: str) -> None:
        is_new, self._records.problem = self._records.problem is None, reason
        if is_new:
            self._log.warn(
                "records in the token store, such as revocations, cannot be read, so the known "
                "ones stay in use: {reason}",
                reason=reason,
                event="records.unreachable",
            )
