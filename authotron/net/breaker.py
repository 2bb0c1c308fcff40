"""Circuit breakers: a remote that fails repeatedly is not called for 10 s, then tried once."""

from __future__ import annotations

from collections.abc import Hashable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.model.errors import Unavailable

FAILURES = 10
"""Consecutive failures after which the circuit of a remote opens."""

PAUSE = 10.0
"""Seconds for which a remote is not called while its circuit is open."""


@define(eq=False)
class Breaker:
    """
    The circuit breaker of one remote.

    After 10 consecutive failures the circuit is open: the remote is not called for 10 s, then one
    call is let through. A caller that enters reports what came of its call by L{succeeded},
    L{failed} or L{abandoned}.
    """

    _remote: str
    _failures: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)
    _trying: bool = field(default=False, init=False)
    _log = Logger()

    def enter(self, clock: IReactorTime) -> None:
        """
        Ask for permission to call the remote.

        @raise Unavailable: the circuit is open.
        """
        self.check(clock)
        self._trying = self.is_open()

    def check(self, clock: IReactorTime) -> None:
        """
        Check that the remote may be called, before waiting for a slot.

        @raise Unavailable: the circuit is open.
        """
        if self.is_open() and (self._trying or clock.seconds() < self._until):
            raise Unavailable(f"{self._remote} is not asked: circuit open after repeated failures")

    def succeeded(self) -> None:
        """Close the circuit: the remote answered, be it with an error that a client may cause."""
        if self.is_open():
            self._log.info(
                "{remote} answers again: circuit closed",
                remote=self._remote,
                event="remote.breaker.closed",
            )
        self._failures, self._trying = 0, False

    def failed(self, clock: IReactorTime) -> None:
        """Count a failure: there was no connection, or no answer in time."""
        self._failures += 1
        self._trying = False
        self._until = clock.seconds() + PAUSE
        if self._failures == FAILURES:
            self._log.warn(
                "{remote} failed {failures} times in a row: circuit open, not asked for {pause} s",
                remote=self._remote,
                failures=FAILURES,
                pause=round(PAUSE),
                event="remote.breaker.opened",
            )

    def abandoned(self) -> None:
        """End a call whose caller was cancelled: the call says nothing about the remote."""
        self._trying = False

    def is_open(self) -> bool:
        """Whether the remote has failed too often in a row."""
        return self._failures >= FAILURES


@define(eq=False)
class Breakers:
    """One circuit breaker per remote service and TLS trust."""

    _known: dict[Hashable, Breaker] = field(factory=dict, init=False)

    def of(self, remote: str, trust: Hashable) -> Breaker:
        """Return the circuit breaker of a remote that is called with this TLS trust."""
        return self._known.setdefault((remote, trust), Breaker(remote))

    def open_count(self) -> int:
        """Return how many circuits are open."""
        return sum(each.is_open() for each in self._known.values())
