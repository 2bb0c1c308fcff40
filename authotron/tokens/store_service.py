"""Keeps a token store open while it is in use."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import was_cancelled
from authotron.model.errors import Unavailable
from authotron.net.world import World
from authotron.tokens.service import TokenService

_FIRST_RETRY, _LAST_RETRY = 0.25, 2.0
_FLUSH_INTERVAL = 60.0


class TokenStoreService(Service):
    """
    Keeps a token store open, and tidies it now and then.

    Nobody waits for it: until it is open, whoever needs it hears that it is unavailable.
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
                    "the token store ({type}) is not there: {reason}",
                    type=type_,
                    reason=str(error),
                    event="store.open.failed",
                )
                await deferLater(self._clock, delay, lambda: None)
                delay = min(delay * 2, _LAST_RETRY)
            else:
                break
        self._log.info("the token store ({type}) is open", type=type_, event="store.opened")
        self._flushing.start(_FLUSH_INTERVAL, now=False).addErrback(self._failed)

    async def _flush(self) -> None:
        try:
            await self.tokens.flush()
        except Unavailable as error:
            self._log.warn(
                "the token store could not be tidied: {reason}",
                reason=str(error),
                event="store.tidy.failed",
            )
