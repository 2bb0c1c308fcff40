"""Ask Redis Sentinel which server is the primary."""

from __future__ import annotations

from collections.abc import Sequence

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
from authotron.net.redis import Login, open_connection
from authotron.net.redis_errors import ErrorAnswer, describe
from authotron.net.world import Connect

_ANSWER_TIMEOUT = 0.8
"""Seconds in which a Sentinel must answer; then the next one is asked."""


@implementer(IStreamClientEndpoint)
@define(eq=False)
class SentinelEndpoint:
    """
    An endpoint that connects to the primary of a service, as Sentinel names it at that time.

    The Sentinels are asked one after the other; the one that answered is asked first next time.

    @ivar _connect: connects to a Sentinel or to Redis.
    @ivar _sentinels: host and port of each Sentinel.
    @ivar _service: the name under which the Sentinels monitor the primary.
    @ivar _login: the login to the Sentinels.
    """

    _connect: Connect
    _sentinels: list[tuple[str, int]]
    _service: str
    _login: Login
    _clock: IReactorTime

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - as in the interface
        """Implement L{IStreamClientEndpoint.connect}; it may fail with L{Unavailable}."""
        return Deferred.fromCoroutine(self._to_primary(protocolFactory))

    async def _to_primary(self, factory: IProtocolFactory) -> IProtocol:
        host, port = await self._primary()
        return await self._connect(host, port).connect(factory)

    async def _primary(self) -> tuple[str, int]:
        """
        Return host and port of the primary.

        @raise Unavailable: no Sentinel knows the primary; the reasons of all are given.
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
        raise Unavailable(f"no Sentinel names the primary ({'; '.join(reasons)})")

    async def _ask(self, host: str, port: int) -> tuple[str, int]:
        try:
            connection = await open_connection(self._connect(host, port), self._login, self._clock)
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
