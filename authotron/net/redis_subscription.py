"""Subscribe to a channel of Redis (pub/sub), over a connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import with_timeout
from authotron.concurrency.waiters import Waiters
from authotron.model.errors import TimedOut, Unavailable
from authotron.net import reasons
from authotron.net.redis import CONNECT_TIMEOUT, Login, RedisConnection, open_connection
from authotron.net.redis_errors import ErrorAnswer, describe

_PING_INTERVAL = 1.0
"""Seconds between two commands C{PING}, by which a connection that died silently is noticed."""

_PING_TIMEOUT = 1.0
"""Seconds within which Redis must answer C{PING} or C{SUBSCRIBE}; else the client reconnects."""

_RETRY_DELAY = 0.25
"""Seconds from the loss of a connection, or a failed attempt to connect, to the next attempt."""


class _Subscriber(RedisConnection):
    """
    A connection to Redis on which messages arrive between the answers to commands.

    @ivar lost: the callers that wait for the end of the connection.
    """

    def __init__(self, clock: IReactorTime, notify: Callable[[], object]) -> None:
        super().__init__(clock)
        self._notify = notify
        self.lost: Waiters[None] = Waiters()

    def _expects_answer(self) -> bool:
        return not self._lost

    def _take(self, answer: Any) -> None:
        if isinstance(answer, list) and answer[:1] == [b"message"]:
            self._notify()
        elif self._waiting:
            super()._take(answer)
        else:
            raise ValueError("an answer without a command")

    def connectionLost(self, reason: Failure = Failure(Unavailable())) -> None:  # noqa: B008 - named by the protocol class of Twisted
        super().connectionLost(reason)
        self.lost.succeed(None)


@define(eq=False)
class Subscription:
    """
    A subscription to one channel of Redis, which is renewed after each loss of the connection.

    @ivar _channel: the name of the channel.
    @ivar _name: the Redis server with its address, for log messages.
    @ivar _problem: why there is no subscription at present, as far as it was logged.
    """

    _endpoint: IStreamClientEndpoint
    _login: Login
    _clock: IReactorTime
    _channel: str
    _name: str
    _problem: str | None = field(default=None, init=False)
    _log = Logger()

    async def follow(self, notify: Callable[[], object]) -> None:
        """
        Call C{notify} for each message in the channel, and after each new subscription, since
        messages before it may have been lost; this goes on until the caller cancels it.
        """
        while True:
            try:
                await self._subscribe(notify)
                problem = "connection lost"
            except ErrorAnswer as error:
                problem = describe(error)
            except (Unavailable, *reasons.NOT_CONNECTED) as error:
                problem = reasons.describe(error)
            self._report(problem)
            await deferLater(self._clock, _RETRY_DELAY, lambda: None)

    async def _subscribe(self, notify: Callable[[], object]) -> None:
        """Subscribe, and return after the end of the connection."""
        build = partial(_Subscriber, self._clock, notify)
        opening = open_connection(self._endpoint, self._login, build)
        connection = await with_timeout(self._clock, CONNECT_TIMEOUT, opening)
        try:
            await self._ask(connection, "SUBSCRIBE", self._channel)
            self._report(None)
            notify()
            while not await self._has_ended(connection):
                await self._ask(connection, "PING")
        finally:
            connection.abort()

    async def _ask(self, connection: RedisConnection, *words: str) -> None:
        await with_timeout(self._clock, _PING_TIMEOUT, _result(connection, *words))

    async def _has_ended(self, connection: _Subscriber) -> bool:
        """Return true at the end of the connection, or false L{_PING_INTERVAL} seconds from now."""
        if connection.is_closed():
            return True
        try:
            await with_timeout(self._clock, _PING_INTERVAL, _end(connection))
        except TimedOut:
            return False
        return True

    def _report(self, problem: str | None) -> None:
        """Log a new reason why there is no subscription, and later that there is one again."""
        if problem == self._problem:
            return
        if problem is None:
            self._log.info("subscribed again to changes at {redis}", redis=self._name)
        elif self._problem is None:
            self._log.warn(
                "no subscription to changes at {redis}, retrying: {reason}; until then the gateway "
                "looks for changes regularly",
                redis=self._name,
                reason=problem,
                event="store.subscription.lost",
            )
        self._problem = problem


async def _result(connection: RedisConnection, *words: str) -> None:
    await connection.ask(*words)


async def _end(connection: _Subscriber) -> None:
    await connection.lost.join()
