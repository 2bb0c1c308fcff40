"""Slots limit how many requests to a remote are under way; further requests wait in fair turns."""

from __future__ import annotations

from contextvars import ContextVar

from attrs import define, field
from twisted.internet.defer import Deferred

from authotron.limits.fair_queue import (
    Asker,
    FairQueue,
    Job,
    Reputations,
)
from authotron.model.errors import Unavailable
from authotron.model.identity import Client

CLIENT: ContextVar[Client] = ContextVar("CLIENT", default=None)
"""
The client whose request is being handled, kept in the context of the coroutine that handles the
request.
"""

_WAITING = 32
"""
Maximum number of callers that wait for each slot; if one more caller comes, one of them fails at
once.
"""


@define(eq=False)
class _Waiter(Job):
    """A caller that waits for a slot, that is, for permission to send a request."""

    granted: Deferred[None] = field(init=False)


@define(eq=False)
class Slots:
    """
    A fixed number of slots, each for one request to a remote; clients take turns.

    Without turns, clients that guess could block users while a remote answers slowly.

    @ivar most: the number of slots.
    @ivar reputations: how much each client is trusted.
    """

    most: int
    reputations: Reputations
    _taken: int = field(default=0, init=False)
    _waiting: FairQueue[_Waiter] = field(init=False, repr=False)
    _granting: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._waiting = FairQueue(self.reputations)

    def take(self) -> bool:
        """
        Take a slot if one is free and no caller waits; return whether a slot was taken.

        The caller must release the slot that it took.
        """
        if self._taken >= self.most or len(self._waiting):
            return False
        self._taken += 1
        return True

    async def acquire(self, asker: Asker | None = None) -> None:
        """
        Take a slot, and wait for it if need be. A caller that is cancelled leaves the queue of
        waiting callers.

        @param asker: the client for which a slot is taken; by default the client in L{CLIENT}.

        @raise Unavailable: too many callers wait for a slot, most of them for this client.
        """
        if self.take():
            return
        waiter = _Waiter(asker or self._asker())
        waiter.granted = granted = Deferred[None](lambda _: self._waiting.remove(waiter))
        self._waiting.add(waiter)
        if len(self._waiting) > self.most * _WAITING:
            full = f"{self.most} requests to the remote are under way, and too many wait"
            self._waiting.shed().granted.errback(Unavailable(full))
        await granted

    def release(self) -> None:
        """Release a slot, and give it to the caller whose turn it is."""
        self._taken -= 1
        # If this method is already running, the running call also grants the released slot, so that
        # calls are not nested.
        if self._granting:
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
        return self.reputations.asker(client() if callable(client) else client, "")
