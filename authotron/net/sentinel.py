"""Ask Redis Sentinels which Redis server is the primary."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from authotron.concurrency.racing import with_timeout
from authotron.model.errors import Unavailable
from authotron.net import reasons
from authotron.net.redis import Login, RedisConnection, open_connection
from authotron.net.redis_errors import ErrorAnswer, describe
from authotron.net.world import Connect

_ANSWER_TIMEOUT = 0.8
"""Seconds within which a Redis Sentinel must answer before the next Sentinel is asked."""


@implementer(IStreamClientEndpoint)
@define(eq=False)
class SentinelEndpoint:
    """
    An endpoint that asks the Sentinels for the Redis primary at each attempt to connect, and
    connects to the server that they name.

    The Redis Sentinels are asked one after the other, beginning with the Sentinel that answered
    last time.

    @ivar _connect: creates the endpoints of Sentinels and of Redis servers.
    @ivar _sentinels: host and port of each Redis Sentinel.
    @ivar _service: the name under which the Sentinels monitor the Redis primary.
    @ivar _login: the user name and password for the Sentinels.
    """

    _connect: Connect
    _sentinels: list[tuple[str, int]]
    _service: str
    _login: Login
    _clock: IReactorTime

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's interface gives the argument this name
        """Implement L{IStreamClientEndpoint.connect}; the Deferred may fail with L{Unavailable}."""
        return Deferred.fromCoroutine(self._to_primary(protocolFactory))

    async def _to_primary(self, factory: IProtocolFactory) -> IProtocol:
        host, port = await self._primary()
        return await self._connect(host, port).connect(factory)

    async def _primary(self) -> tuple[str, int]:
        """
        Return host and port of the Redis primary.

        @raise Unavailable: no Sentinel names the primary; the message gives the reason for each
            Sentinel.
        """
        reasons = []
        for sentinel in [*self._sentinels]:
            try:
                primary = await with_timeout(self._clock, _ANSWER_TIMEOUT, self._ask(*sentinel))
            except Unavailable as error:
                reasons.append(f"{sentinel[0]}:{sentinel[1]}: {error}")
            else:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return primary
        raise Unavailable(f"no Redis Sentinel names the primary ({'; '.join(reasons)})")

    async def _ask(self, host: str, port: int) -> tuple[str, int]:
        try:
            build = partial(RedisConnection, self._clock)
            connection = await open_connection(self._connect(host, port), self._login, build)
            try:
                return _address(
                    await connection.ask("SENTINEL", "get-master-addr-by-name", self._service)
                )
            finally:
                connection.abort()
        except ErrorAnswer as error:
            raise Unavailable(describe(error).replace("Redis", "Sentinel", 1)) from None
        except reasons.NOT_CONNECTED as error:
            raise Unavailable(reasons.describe(error)) from None


def _address(answer: Sequence[bytes] | None) -> tuple[str, int]:
    if not answer:
        raise Unavailable("Sentinel does not know this service; set store.sentinel_service")
    host, port = answer
    return host.decode("ascii"), int(port)
