"""Distribute connections evenly over workers that accept from the same sockets."""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.daemon.workers.connection_counts import OwnCount

PAUSE = 0.001
"""Seconds between two checks whether other workers have accepted the connections that wait."""

PATIENCE = 20
"""
Number of checks after which a worker counts as blocked, if it accepts nothing although connections
wait.
"""

_LEAD, _LEAD_SHARE = 8, 16
"""
A worker is ahead of another worker if it has more connections than it by at least the first number
plus its own connections divided by the second number.
"""

_NOTED = 4
"""
Number of changes of the open connections after which the connections are counted, because counting
costs processor time.
"""

_ARRIVED = select.EPOLLIN | select.EPOLLONESHOT


class AcceptingPort(Protocol):
    """A port that can stop and resume accepting connections, such as those of Twisted."""

    def fileno(self) -> int:
        """Return the descriptor of the listening socket."""

    def stopReading(self) -> None:
        """Accept nothing until C{startReading} is called."""

    def startReading(self) -> None:
        """Accept connections again."""


@implementer(IReadDescriptor)
@define(eq=False)
class AcceptGate:
    """
    Keeps a worker from accepting connections while it is ahead of another worker.

    If many clients connect at once, the worker that wakes up first would get nearly all their
    connections. A worker that has more connections than another one stops accepting. As soon as a
    connection waits, a worker that has stopped accepting checks each L{PAUSE} seconds whether the
    other workers have caught up. A worker that accepts nothing during L{PATIENCE} checks, because
    it is stopped or blocked, is ignored by the others until it has accepted or closed a connection.

    @ivar count: a function that returns the number of open connections of this worker.
    """

    _own: OwnCount
    _reactor: IReactorFDSet
    _clock: IReactorTime
    _arrivals: Any = field(factory=select.epoll)
    count: Callable[[], int] = field(default=lambda: 0, init=False)
    _changes: int = field(default=0, init=False)
    _ports: list[AcceptingPort] = field(factory=list, init=False)
    _check: IDelayedCall | None = field(default=None, init=False)
    _is_paused: bool = field(default=False, init=False)
    _blocked: dict[int, int] = field(factory=dict, init=False)
    _awaited: Mapping[int, int] = field(factory=dict, init=False)
    _checks: int = field(default=0, init=False)

    def open(self, port: AcceptingPort) -> None:
        """Add a port that has begun to accept connections."""
        if not self._ports:
            self._reactor.addReader(self)
        self._ports.append(port)
        self._arrivals.register(port.fileno(), 0)
        if self._is_paused:
            port.stopReading()
        self._own.publish(self.count())

    def close(self, port: AcceptingPort) -> None:
        """
        Remove a port that is about to be closed; a port that was removed before stays removed.

        Without a port the worker takes no part in the distribution of connections. If the worker
        stops while it starts, a port may be added after the others were removed.
        """
        if port not in self._ports:
            return
        self._resume()
        self._ports.remove(port)
        self._arrivals.unregister(port.fileno())
        if not self._ports:
            self._own.withdraw()
            self._reactor.removeReader(self)

    def note_change(self) -> None:
        """Note that a connection was opened or closed; the other workers see each fourth change."""
        self._changes += 1
        # While a worker drains, it shows no number of connections to the others.
        if self._changes % _NOTED or not self._ports:
            return
        self._own.publish(self.count())
        if not self._is_paused and self._behind():
            self._pause()

    def _behind(self) -> Mapping[int, int]:
        """
        Return the numbers of connections of the workers that have clearly fewer, without those that
        are blocked.
        """
        found = self._own.behind(_LEAD + self._own.open // _LEAD_SHARE)
        if not found or not self._blocked:
            return found
        return {at: each for at, each in found.items() if self._blocked.get(at) != each}

    def _pause(self) -> None:
        self._is_paused = True
        for port in self._ports:
            port.stopReading()
        self._wait()

    def _resume(self) -> None:
        if not self._is_paused:
            return
        self._is_paused = False
        if self._check is not None:
            self._check.cancel()
            self._check = None
        for port in self._ports:
            port.startReading()

    def _wait(self) -> None:
        self._check = self._clock.callLater(PAUSE, self._look)

    def _look(self) -> None:
        """
        Accept connections again if no worker has clearly fewer, or if those that have
        are blocked.
        """
        self._check = None
        if not self._is_paused:
            return
        behind = self._behind()
        if behind != self._awaited:
            self._awaited, self._checks = behind, 0
        self._checks += 1
        if not behind:
            self._resume()
        elif self._checks > PATIENCE:
            self._blocked.update(behind)
            self._resume()
        elif self._is_waiting():
            self._wait()

    def _is_waiting(self) -> bool:
        """
        Whether a connection waits at a port; if none does, the next one makes C{_arrivals}
        readable.
        """
        for port in self._ports:
            self._arrivals.modify(port.fileno(), _ARRIVED)
        return self._take_arrivals()

    def _take_arrivals(self) -> bool:
        return bool(self._arrivals.poll(0))

    # --- IReadDescriptor: called when a connection waits while the ports are paused ---

    def fileno(self) -> int:
        descriptor: int = self._arrivals.fileno()
        return descriptor

    def doRead(self) -> None:
        # If a connection arrives at a second port, the checks for the first port see it, too.
        if self._take_arrivals() and self._is_paused and self._check is None:
            self._awaited, self._checks = {}, 0
            self._look()

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing: the descriptor is closed with the process."""

    def logPrefix(self) -> str:
        return "accept gate"
