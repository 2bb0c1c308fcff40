"""The connections that are open, and those who wait until none is."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred


class Guest(Protocol):
    """A connection that can be asked to go."""

    def leave(self) -> None:
        """Close as soon as what was begun is answered."""


@define(eq=False)
class Crowd:
    """All connections of one kind, from their first moment to their last."""

    _open: set[Guest] = field(factory=set, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)

    def add(self, guest: Guest) -> None:
        self._open.add(guest)

    def discard(self, guest: Guest) -> None:
        self._open.discard(guest)
        self._tell()

    def drain(self) -> Deferred[None]:
        """Close connections as soon as nothing is in flight on them; fires when none is left."""
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        for guest in [*self._open]:
            guest.leave()
        self._tell()
        return waiting

    def _tell(self) -> None:
        while self._waiting and not self._open:
            self._waiting.pop().callback(None)
