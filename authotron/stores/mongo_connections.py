"""The connections to MongoDB: why they fail, and what happens after a step-down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from attrs import define, field
from pymongo.errors import AutoReconnect, PyMongoError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txmongo.connection import ConnectionPool
from txmongo.errors import TimeExceeded
from txmongo.protocol import MongoAuthenticationError, MongoProtocol

from authotron.concurrency.racing import with_timeout
from authotron.concurrency.waiters import Waiters
from authotron.model.errors import TimedOut, Unavailable
from authotron.net.reasons import Reason
from authotron.net.tls_gates import GatedConnections
from authotron.stores import mongo_client, mongo_errors
from authotron.stores.mongo_errors import Disconnected, NotPrimary

T = TypeVar("T")

_TIMEOUT_SHARE = 0.95
"""
Fraction of C{store.timeout} after which an operation of MongoDB times out, so that this timeout
fires before that of the store and its error message can give the reason.
"""

_MOST_NAMES = 3
"""Maximum number of servers that an error message lists by name."""

_REPEATS = 2
"""
Maximum number of times that an operation is repeated because the server is no longer the primary.
"""

_RETRY_DELAY = 0.5
"""
Seconds, on average, between two attempts to connect while no server of the URI can be used.

The delay between attempts to connect stays short, because after the server is back the store is
unavailable until the next attempt.
"""


class Config(mongo_client.Target, Protocol):
    """
    The configuration keys for the connections to MongoDB: the address of the server, and the
    timeout of the store.
    """

    timeout: float


class _Protocol(MongoProtocol):  # type: ignore[misc] # txmongo has no types
    """
    A connection that reports why it cannot be used, instead of logging a fatal error.

    @ivar report: a function that is called with the exception that says why the connection cannot
        be used.
    """

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        super().__init__()
        self.report = report

    def fail(self, reason: BaseException) -> None:
        self.report(reason)
        self.transport.loseConnection()


@define(eq=False)
class MongoConnections:
    """
    The connection pool of a store, and why the pool last failed to connect.

    @ivar _peer: the verifier of the certificate of the server, or C{None} if TLS is off.
    @ivar _hosts: the servers that the URI names; all are tried before an attempt fails.
    @ivar reason: why the last attempt to connect failed, or C{None} while there is a connection.
    """

    pool: ConnectionPool
    _peer: GatedConnections | None
    _hosts: Sequence[tuple[str, int]]
    _clock: IReactorTime
    _timeout: float
    reason: str | None = field(default=None, init=False)
    _failed: set[tuple[str, int]] = field(factory=set, init=False)
    _said: str | None = field(default=None, init=False)
    _settling: Waiters[None] = field(factory=Waiters, init=False)

    @classmethod
    def of(cls, config: Config, clock: IReactorTime) -> MongoConnections:
        """Start to connect to the servers of a configuration section."""
        peer = mongo_client.tls_peer(config)
        pool = mongo_client.connection_pool(config, peer)
        return cls(pool, peer, pool.uri["nodelist"], clock, config.timeout)

    def __attrs_post_init__(self) -> None:
        for factory in self.pool.getprotocols():
            self._watch(factory)

    def _watch(self, factory: Any) -> None:
        """
        Let one connection of the pool report whether it can be used, and reconnect soon after a
        failure.
        """
        lost, failed, use = (
            factory.clientConnectionLost,
            factory.clientConnectionFailed,
            factory.setInstance,
        )

        def on_lost(connector: Any, reason: Failure) -> None:
            self._note(connector, reason.value)
            factory.delay = _RETRY_DELAY
            lost(connector, reason)

        def on_failed(connector: Any, reason: Failure) -> None:
            self._note(connector, reason.value)
            factory.delay = _RETRY_DELAY
            failed(connector, reason)

        def on_used(instance: Any = None, reason: Any = None) -> None:
            use(instance, reason)
            if instance is not None:
                self._connected()

        factory.clientConnectionLost, factory.clientConnectionFailed = on_lost, on_failed
        factory.setInstance = on_used
        factory.protocol = partial(_Protocol, self._say)

    def _say(self, error: BaseException) -> None:
        """
        Remember the error that a server reports before it closes the connection, as the reason for
        the failure.
        """
        is_late = isinstance(error, TimeExceeded)
        self._said = f"{Reason.TIMED_OUT}" if is_late else mongo_errors.describe(error)

    def _note(self, connector: Any, error: BaseException | None) -> None:
        said, self._said = self._said, None
        if self._peer is not None and self._peer.refusal is not None:
            said = str(self._peer.refusal)
        if self._is_connected():
            return
        self.reason = said or mongo_errors.describe(error or ConnectionError())
        self._failed.add((connector.host, connector.port))
        if len(self._failed) >= len(self._hosts):
            self._settling.fail(self._unreachable())

    def _connected(self) -> None:
        self.reason, self._failed = None, set()
        self._settling.succeed(None)

    def _is_connected(self) -> bool:
        return any(each.instance for each in self.pool.getprotocols())

    def _unreachable(self) -> Unavailable:
        return Unavailable(f"{self._name()} cannot be reached: {self.reason}")

    def _name(self) -> str:
        """List the servers in a message, but at most three of them by name."""
        names = [f"{host}:{port}" for host, port in self._hosts]
        more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
        return f"MongoDB at {', '.join([*names[:_MOST_NAMES], *more])}"

    async def wait(self) -> None:
        """
        Wait until there is a connection, or until all servers have been tried again.

        @raise Unavailable: no server of the URI can be used; the message says why.
        """
        if not self._is_connected():
            self._failed.clear()
            await self._in_time(self._settling.join)

    def check(self) -> None:
        """
        Raise an exception if there is no connection because the attempts to connect have failed.

        @raise Unavailable: no server of the URI can be reached; the message says why.
        """
        if self._peer is not None and not self._is_connected():
            self._peer.check_peer()
        if len(self._failed) >= len(self._hosts) and not self._is_connected():
            raise self._unreachable()

    async def check_login(self) -> None:
        """
        Find out whether the server refused an operation because it had rejected the login before.

        If a login is rejected, txmongo keeps the connection, and uses it without a login.

        @raise Unavailable: the server rejects the login, or no user and password are configured.
        """
        logins = [*self.pool.auth_creds.items()]
        if not logins:
            raise Unavailable(
                f"MongoDB: {Reason.NOT_ALLOWED}: the server wants a login; put user and password "
                "into store.uri"
            )
        for database, login in logins:
            try:
                await self._in_time(partial(self.pool.authenticate, database, *login))
            except (MongoAuthenticationError, PyMongoError, LookupError, ValueError):
                raise Unavailable(
                    f"MongoDB: {Reason.WRONG_LOGIN}, or the user lacks the mechanism SCRAM-SHA-1"
                ) from None

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """
        Run an operation of MongoDB, and run it again if the server is not the primary any more.

        @raise Unavailable: the database cannot be reached, or refuses the operation.
        """
        return await self._in_time(lambda: self._call(operation))

    async def read(self, operation: Callable[[], Awaitable[T]]) -> T:
        """
        Run an operation that changes nothing, as L{call} does; run it again if the connection is
        lost, since a network device may have dropped the connection while it was unused.

        @raise Unavailable: the database cannot be reached, or refuses the operation.
        """
        return await self._in_time(lambda: self._read(operation))

    async def _read(self, operation: Callable[[], Awaitable[T]]) -> T:
        with suppress(Disconnected):
            return await self._call(operation)
        return await self._call(operation)

    async def _call(self, operation: Callable[[], Awaitable[T]]) -> T:
        for _ in range(_REPEATS):
            # A connection that was being established during the step-down may lead to the server
            # that is no longer the primary, too.
            with suppress(NotPrimary):
                return await mongo_client.call(operation())
            self._reconnect()
        return await mongo_client.call(operation())

    def _reconnect(self) -> None:
        """
        Close all connections of the pool, which lead to a server that is no longer the primary, so
        that the pool connects to the new one.
        """
        for factory in self.pool.getprotocols():
            instance = factory.instance
            if instance is not None and instance.transport is not None:
                factory.setInstance(None, Failure(AutoReconnect("the server is not the primary")))
                instance.transport.loseConnection()

    async def _in_time(self, work: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await work()

        try:
            return await with_timeout(self._clock, self._timeout * _TIMEOUT_SHARE, run())
        except TimedOut as error:
            if self.reason is not None:
                raise TimedOut(str(self._unreachable())) from None
            if self._peer is not None and not self._is_connected():
                raise TimedOut(
                    f"{self._name()} cannot be reached: {Reason.TIMED_OUT}: the TLS handshake was "
                    "not answered; the server may not use TLS"
                ) from None
            raise TimedOut(f"MongoDB: {error}") from None
