"""Limit the questions that are under way at once; further ones wait in order, within bounds."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred

from authotron.errors import Unavailable

_WAITING = 32
"""Callers that may wait for each slot; a further one fails at once."""


@define(eq=False)
class Slots:
    """
    A fixed number of slots, each for one question to a remote.

    @ivar most: how many there are.
    """

    most: int
    _taken: int = field(default=0, init=False)
    _waiting: dict[Deferred[None], None] = field(factory=dict, init=False)
    _granting: bool = field(default=False, init=False)

    def take(self) -> bool:
        """Take a slot if one is free and no caller waits for it. It has to be released."""
        if self._taken >= self.most or self._waiting:
            return False
        self._taken += 1
        return True

    async def acquire(self) -> None:
        """
        Take a slot, and wait for it if need be. A caller that stops waiting leaves the queue.

        @raise Unavailable: too many wait already.
        """
        if self.take():
            return
        if len(self._waiting) >= self.most * _WAITING:
            raise Unavailable(f"{self.most} questions are under way, and too many wait")
        waiting: Deferred[None] = Deferred(self._waiting.pop)
        self._waiting[waiting] = None
        await waiting

    def release(self) -> None:
        """Give a slot to the caller that waits longest."""
        self._taken -= 1
        if self._granting:  # the loop below goes on; a thousand that fail at once are no recursion
            return
        self._granting = True
        try:
            while self._waiting and self._taken < self.most:
                waiting = next(iter(self._waiting))
                del self._waiting[waiting]
                self._taken += 1
                waiting.callback(None)
        finally:
            self._granting = False
