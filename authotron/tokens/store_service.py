"""The Twisted service that opens a token store, and deletes expired API tokens every minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import was_cancelled
from authotron.model.errors import Unavailable
from authotron.net.world import World

if TYPE_CHECKING:  # compose() loads this module if a token store is configured
    from authotron.tokens.service import TokenService

_FIRST_RETRY, _LAST_RETRY = 0.25, 2.0
"""
Seconds before the first retry to open the token store, and the maximum seconds
between two retries.
"""

_FLUSH_INTERVAL = 60.0
"""Seconds between two calls of L{TokenService.flush}."""


class TokenStoreService(Service):
    """
    Opens a token store, and then calls L{TokenService.flush} every 60 s.

    The gateway starts without waiting for the token store. Until the token store is open, requests
    with an API token are answered with 503.
    """

    _log = Logger()

    def __init__(
        self, tokens: TokenService, world: World, failed: Callable[[Failure], None]
    ) -> None:
        self.tokens = tokens
        self._clock = world.clock
        self._failed = failed
        self._flushing = LoopingCall(self._flush)
        self._flushing.clock = world.clock
        self._opening: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        self._opening = Deferred.fromCoroutine(self._open())
        self._opening.addErrback(lambda f: None if was_cancelled(f) else self._failed(f))

    async def stopService(self) -> None:
        super().stopService()
        if self._opening is not None:
            self._opening.cancel()
        if self._flushing.running:
            self._flushing.stop()
            await self._flush()
        await self.tokens.store.close()

    async def _open(self) -> None:
        delay, type_ = _FIRST_RETRY, self.tokens.store.type
        while True:
            try:
                await self.tokens.store.open()
            except Unavailable as error:
                self._log.warn(
                    "token store ({type}) unavailable, retrying: {reason}",
                    type=type_,
                    reason=str(error),
                    event="store.open.failed",
                )
                await deferLater(self._clock, delay, lambda: None)
                delay = min(delay * 2, _LAST_RETRY)
            else:
                break
        self._log.info("token store ({type}) opened", type=type_, event="store.opened")
        self._flushing.start(_FLUSH_INTERVAL, now=False).addErrback(self._failed)

    async def _flush(self) -> None:
        try:
            await self.tokens.flush()
        except Unavailable as error:
            self._log.warn(
                "token store: deleting expired API tokens failed: {reason}",
                reason=str(error),
                event="store.tidy.failed",
            )
