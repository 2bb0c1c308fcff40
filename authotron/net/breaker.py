"""Remotes that cannot be reached are left alone for a while, and tried once in a while."""

from __future__ import annotations

from collections.abc import Hashable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.model.errors import Unavailable

FAILURES = 10
"""So many failures in a row, and a remote is left alone."""

PAUSE = 10.0
"""Seconds it is left alone before it is tried once."""


@define(eq=False)
class Breaker:
    """One remote. Whoever enters says afterwards what came of it."""

    _place: str
    _failures: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)
    _trying: bool = field(default=False, init=False)
    _log = Logger()

    def enter(self, clock: IReactorTime) -> None:
        """
        Ask whether it may be asked.

        @raise Unavailable: it is left alone.
        """
        self.demand(clock)
        self._trying = self.is_open()

    def demand(self, clock: IReactorTime) -> None:
        """
        Check that the remote may be asked, without asking; for callers that wait for a slot first.

        @raise Unavailable: the circuit is open.
        """
        if self.is_open() and (self._trying or clock.seconds() < self._until):
            raise Unavailable(f"{self._place} is left alone for a while")

    def spoke(self) -> None:
        """It gave an answer, be it a bad one: that may be a client's doing."""
        if self.is_open():
            self._log.info(
                "{remote} can be reached again", remote=self._place, event="remote.breaker.closed"
            )
        self._failures, self._trying = 0, False

    def failed(self, clock: IReactorTime) -> None:
        """There was no connection, or nothing came in time."""
        self._failures += 1
        self._trying = False
        self._until = clock.seconds() + PAUSE
        if self._failures == FAILURES:
            self._log.warn(
                "{remote} cannot be reached and is left alone for a while",
                remote=self._place,
                event="remote.breaker.opened",
            )

    def left(self) -> None:
        """Whoever asked did not wait for the answer."""
        self._trying = False

    def is_open(self) -> bool:
        """Whether it is left alone."""
        return self._failures >= FAILURES


@define(eq=False)
class Breakers:
    """Those of all remotes."""

    _known: dict[Hashable, Breaker] = field(factory=dict, init=False)

    def of(self, place: str, trust: Hashable) -> Breaker:
        """That of a remote, as far as it is reached with this trust."""
        return self._known.setdefault((place, trust), Breaker(place))

    def left_alone(self) -> int:
        """How many remotes are left alone."""
        return sum(each.is_open() for each in self._known.values())
