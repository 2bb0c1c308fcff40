"""
Circuit breakers: a remote service that fails repeatedly is not called for 10 s, then called once to
find out whether it works again.
"""

from __future__ import annotations

from collections.abc import Hashable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.model.errors import Unavailable

FAILURES = 10
"""Number of consecutive failures after which the circuit breaker of a remote service opens."""

PAUSE = 10.0
"""Seconds for which a remote service is not called after its circuit breaker has opened."""


@define(eq=False)
class Breaker:
    """
    The circuit breaker of one remote service.

    After 10 consecutive failed calls the circuit is open: the remote service is not called for 10
    s, then one call is let through. After L{enter} the caller must report the outcome of its call
    by L{succeeded}, L{failed} or L{abandoned}.
    """

    _remote: str
    _failures: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)
    _trying: bool = field(default=False, init=False)
    _reason: str = field(default="", init=False)
    _log = Logger()

    def enter(self, clock: IReactorTime) -> None:
        """
        Ask the circuit breaker whether the remote service may be called now.

        @raise Unavailable: the circuit is open.
        """
        self.check(clock)
        self._trying = self.is_open()

    def check(self, clock: IReactorTime) -> None:
        """
        Check that the circuit is closed, before the caller waits for a slot to send its request.

        @raise Unavailable: the circuit is open.
        """
        if self.is_open() and (self._trying or clock.seconds() < self._until):
            last = self._reason and f", the last: {self._reason}"
            raise Unavailable(
                f"{self._remote} is not asked: circuit open after repeated failures{last}"
            )

    def succeeded(self) -> None:
        """
        Close the circuit, because the remote service answered; an error response that is due to the
        client's request also shows that the service works.
        """
        if self.is_open():
            self._log.info(
                "{remote} answers again: circuit closed",
                remote=self._remote,
                event="remote.breaker.closed",
            )
        self._failures, self._trying = 0, False

    def failed(self, clock: IReactorTime, reason: str = "") -> None:
        """
        Count a failed call: the remote service could not be reached, or did
        not answer in time.

        @param reason: why the call failed, for error messages while the circuit is open.
        """
        self._reason = reason
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
        """
        Tell the circuit breaker that a call was cancelled, and so does not show whether the remote
        service works.
        """
        self._trying = False

    def is_open(self) -> bool:
        """Whether the circuit is open, because too many calls in a row have failed."""
        return self._failures >= FAILURES


@define(eq=False)
class Breakers:
    """One circuit breaker per remote service and TLS trust."""

    _known: dict[Hashable, Breaker] = field(factory=dict, init=False)

    def of(self, remote: str, trust: Hashable) -> Breaker:
        """Return the circuit breaker of a remote service that is called with this TLS trust."""
        return self._known.setdefault((remote, trust), Breaker(remote))

    def open_count(self) -> int:
        """Return how many circuit breakers are open."""
        return sum(each.is_open() for each in self._known.values())
