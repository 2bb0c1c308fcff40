"""The open connections to a port: their limit, and how they are closed when the gateway stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol as Connection
from twisted.logger import Logger

from authotron.concurrency.waiters import Waiters
from authotron.limits.descriptors import OWN_FILES, file_limit
from authotron.telemetry.metrics import Metrics

_OVERLOADED = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: authotron\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)
_WARNING_INTERVAL = 60.0
"""Minimum seconds between two warnings that a port has as many connections as allowed."""


class ClientConnection(Protocol):
    """A connection that can be closed after its requests are answered."""

    def close_when_idle(self) -> None:
        """Close the connection as soon as all requests that have begun to arrive are answered."""


def _do_nothing() -> None:
    """Ignore a change of the open connections."""


@define(eq=False)
class OpenConnections:
    """
    The set of open connections to a port, which can be drained: closed once their requests are
    answered.

    @ivar on_change: a function that is called after each change of the set.
    """

    on_change: Callable[[], object] = field(default=_do_nothing, init=False)
    _open: set[ClientConnection] = field(factory=set, init=False)
    _waiting: Waiters[None] = field(factory=Waiters, init=False)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[ClientConnection]:
        return iter(self._open)

    def add(self, connection: ClientConnection) -> None:
        self._open.add(connection)
        self.on_change()

    def discard(self, connection: ClientConnection) -> None:
        self._open.discard(connection)
        self.on_change()
        self._notify_if_empty()

    def drain(self) -> Deferred[None]:
        """
        Close every connection once its requests are answered; the Deferred fires when all are
        closed.
        """
        waiting = self._waiting.join()
        for connection in [*self._open]:
            connection.close_when_idle()
        self._notify_if_empty()
        return waiting

    def _notify_if_empty(self) -> None:
        if not self._open:
            self._waiting.succeed(None)


class Overloaded(Connection):
    """
    The protocol of a connection above the limit of connections: answers 503 with C{Retry-After},
    and closes.
    """

    transport: Any

    def connectionMade(self) -> None:
        self.transport.write(_OVERLOADED)
        self.transport.loseConnection()


def connection_limit(configured: int | None, others: int = 0) -> int:
    """
    Return the maximum number of connections to the main port, which cannot exceed the limit of open
    files.

    @param configured: the configured maximum, C{server.max_connections}, or C{None}.
    @param others: the number of connections to remote services, and to the metrics port if this
        process serves the metrics port.
    """
    files = file_limit()
    if files is None:
        return 1 << 30 if configured is None else configured
    possible = max(files - min(OWN_FILES, files // 4) - others, files // 4)
    return possible if configured is None else min(configured, possible)


def metrics_connection_limit(configured: int) -> int:
    """
    Return the maximum number of connections to the metrics port: at most an eighth of the limit of
    open files.
    """
    files = file_limit()
    return configured if files is None else min(configured, max(1, files // 8))


def _nothing_to_close() -> bool:
    """Do nothing: connections to the main port are never closed to make room for others."""
    return False


@define(eq=False)
class ConnectionLimit:
    """
    Limits the number of connections to one port.

    @ivar most: the maximum number of open connections.
    @ivar close_unused: a function that closes one connection without a request, and returns whether
        there was one.
    """

    _clock: IReactorTime
    _metrics: Metrics
    most: int
    connections: tuple[OpenConnections, ...]
    port: str = "main"
    close_unused: Callable[[], bool] = _nothing_to_close
    _last_warning: float | None = field(default=None, init=False)
    _log = Logger()

    def count(self) -> int:
        """Return the number of open connections."""
        return sum(map(len, self.connections))

    def is_full(self) -> bool:
        """
        Whether to reject a further connection, in which case a warning is logged once a minute at
        most.
        """
        if self.count() < self.most or self.close_unused():
            return False
        self._metrics.connection_rejected()
        now = self._clock.seconds()
        if self._last_warning is None or now - self._last_warning >= _WARNING_INTERVAL:
            self._last_warning = now
            self._log.warn(
                "{port} port: {most} connections are open, the limit; rejecting further ones",
                port=self.port,
                most=self.most,
                event="routes.connections.full",
            )
        return True
