"""Limit the questions that are under way at once; further ones wait in turns, within bounds."""

from __future__ import annotations

from contextvars import ContextVar

from attrs import define, field
from twisted.internet.defer import Deferred

from authotron.limits.fair_queue import (
    Asker,
    FairQueue,
    Job,
    Standings,
)
from authotron.model.errors import Unavailable
from authotron.model.identity import Client

CLIENT: ContextVar[Client] = ContextVar("CLIENT", default=None)
"""
The client for which the work at hand is done. Deferreds that are made of coroutines go on in their
context.
"""

_WAITING = 32
"""Callers that may wait for each slot; above that one of them fails at once."""


@define(eq=False)
class _Waiter(Job):
    """A caller that waits for a slot."""

    granted: Deferred[None] = field(init=False)


@define(eq=False)
class Slots:
    """
    A fixed number of slots, each for one question to a remote, given in turns of L{FairQueue}.

    A limit alone would let clients that guess shut out users while the remote is slow to refuse.

    @ivar most: how many slots there are.
    @ivar standings: know the clients that ask, and how much each is trusted.
    """

    most: int
    standings: Standings
    _taken: int = field(default=0, init=False)
    _waiting: FairQueue[_Waiter] = field(init=False, repr=False)
    _granting: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._waiting = FairQueue(self.standings)

    def take(self) -> bool:
        """Take a slot if one is free and no caller waits for it. It has to be released."""
        if self._taken >= self.most or len(self._waiting):
            return False
        self._taken += 1
        return True

    async def acquire(self, asker: Asker | None = None) -> None:
        """
        Take a slot, and wait for it if need be. A caller that stops waiting leaves the queue.

        @param asker: whose turn is waited for; by default that of L{CLIENT}.

        @raise Unavailable: too many wait, and most of them for this client.
        """
        if self.take():
            return
        waiter = _Waiter(asker or self._asker())
        waiter.granted = granted = Deferred[None](lambda _: self._waiting.remove(waiter))
        self._waiting.add(waiter)
        if len(self._waiting) > self.most * _WAITING:
            full = f"{self.most} questions are under way, and too many wait"
            self._waiting.shed().granted.errback(Unavailable(full))
        await granted

    def release(self) -> None:
        """Give a slot back, to the caller whose turn it is."""
        self._taken -= 1
        if self._granting:  # the loop below goes on; a thousand that fail at once are no recursion
            return
        self._granting = True
        try:
            while len(self._waiting) and self._taken < self.most:
                waiter = self._waiting.take()
                self._taken += 1
                waiter.granted.callback(None)
        finally:
            self._granting = False

    def _asker(self) -> Asker:
        client = CLIENT.get()
        return self.standings.asker(client() if callable(client) else client, "")
