"""Limit the questions that are under way at once; further ones wait in turns, within bounds."""

from __future__ import annotations

from contextvars import ContextVar

from attrs import define, field
from twisted.internet.defer import Deferred

from authotron.errors import Unavailable
from authotron.hosts import site
from authotron.identity import Client

CLIENT: ContextVar[Client] = ContextVar("CLIENT", default=None)
"""For whom the work at hand is done; Deferreds that are made of coroutines go on in their
context."""

_WAITING = 32
"""Callers that may wait for each slot; above that one fails at once."""


@define(eq=False)
class Slots:
    """
    A fixed number of slots, each for one question to a remote.

    Who waits for one is in the share of its client, and the shares take turns, so that a client
    that guesses does not shut out the others. A client is an address, or the site that an IPv6
    address belongs to; all whose address is not known are one.

    @ivar most: how many there are.
    """

    most: int
    _taken: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)
    _waiting: dict[str | None, dict[Deferred[None], None]] = field(factory=dict, init=False)
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

        @raise Unavailable: too many wait, and most of them for this client.
        """
        if self.take():
            return
        client = _client()
        waiting: Deferred[None] = Deferred(lambda waiting: self._remove(client, waiting))
        self._waiting.setdefault(client, {})[waiting] = None
        self._number += 1
        if self._number > self.most * _WAITING:
            self._shed()
        await waiting

    def release(self) -> None:
        """Give a slot to the caller that waits longest of the client whose turn it is."""
        self._taken -= 1
        if self._granting:  # the loop below goes on; a thousand that fail at once are no recursion
            return
        self._granting = True
        try:
            while self._waiting and self._taken < self.most:
                client, share = next(iter(self._waiting.items()))
                waiting = next(iter(share))
                self._remove(client, waiting)
                if share:
                    self._waiting[client] = self._waiting.pop(client)  # behind all others
                self._taken += 1
                waiting.callback(None)
        finally:
            self._granting = False

    def _shed(self) -> None:
        """Refuse the newest waiter of the client that has most; of several that came last."""
        client = max(reversed(self._waiting), key=lambda each: len(self._waiting[each]))
        waiting = next(reversed(self._waiting[client]))
        self._remove(client, waiting)
        full = f"{self.most} questions are under way, and too many wait"
        waiting.errback(Unavailable(full))

    def _remove(self, client: str | None, waiting: Deferred[None]) -> None:
        share = self._waiting[client]
        del share[waiting]
        self._number -= 1
        if not share:
            del self._waiting[client]


def _client() -> str | None:
    """The client for which the work at hand is done, as far as it is known."""
    asks = CLIENT.get()
    address = asks() if callable(asks) else asks
    return address and site(address)
