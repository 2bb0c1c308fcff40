"""The connections that are open, how many there may be, and those who wait until none is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol as Connection
from twisted.logger import Logger

from authotron.concurrency.waiters import Waiters
from authotron.limits.descriptors import OWN, most_files
from authotron.telemetry.metrics import Metrics

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: authotron\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)
_WARNING_INTERVAL = 60.0
"""Seconds between two warnings that a port is full."""


class ClientConnection(Protocol):
    """A connection that can be asked to go."""

    def close_when_idle(self) -> None:
        """Close as soon as what was begun is answered."""


@define(eq=False)
class OpenConnections:
    """All connections of one kind, from their first moment to their last."""

    _open: set[ClientConnection] = field(factory=set, init=False)
    _waiting: Waiters[None] = field(factory=Waiters, init=False)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[ClientConnection]:
        return iter(self._open)

    def add(self, connection: ClientConnection) -> None:
        self._open.add(connection)

    def discard(self, connection: ClientConnection) -> None:
        self._open.discard(connection)
        self._tell()

    def drain(self) -> Deferred[None]:
        """Close connections as soon as nothing is in flight on them; fires when none is left."""
        waiting = self._waiting.join()
        for connection in [*self._open]:
            connection.close_when_idle()
        self._tell()
        return waiting

    def _tell(self) -> None:
        if not self._open:
            self._waiting.succeed(None)


class Overloaded(Connection):
    """Is told to come again, and sent away, whatever it wants."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.write(_FULL)
        self.transport.loseConnection()


def connection_limit(wanted: int | None, others: int = 0) -> int:
    """
    Limit the connections of the main port to the files that the process may have open.

    @param others: connections of the metrics port, if this process serves it, and to remotes.
    """
    files = most_files()
    if files is None:
        return 1 << 30 if wanted is None else wanted
    possible = max(files - min(OWN, files // 4) - others, files // 4)
    return possible if wanted is None else min(wanted, possible)


def metrics_connection_limit(wanted: int) -> int:
    """Limit the connections of the metrics port: to an eighth of the files, at most."""
    files = most_files()
    return wanted if files is None else min(wanted, max(1, files // 8))


def _nothing_to_close() -> bool:
    """Close no connection to make room."""
    return False


@define(eq=False)
class ConnectionLimit:
    """
    Limits the connections to a port.

    @ivar make_room: closes a connection that is not in use, if there is one, and says so.
    """

    _clock: IReactorTime
    _metrics: Metrics
    most: int
    connections: tuple[OpenConnections, ...]
    port: str = "main"
    close_unused: Callable[[], bool] = _nothing_to_close
    _last_warning: float | None = field(default=None, init=False)
    _log = Logger()

    def is_full(self) -> bool:
        """Whether a further connection is to be rejected; this is logged once a minute."""
        if sum(map(len, self.connections)) < self.most or self.close_unused():
            return False
        self._metrics.turned_away()
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
