"""Ask a remote in turns of the clients whose credentials it judges."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from authotron.errors import Rejected, TimedOut, Unavailable
from authotron.fair_queue import Asker, FairQueue, Job, Standings
from authotron.racing import T, Work, within

_WAITING = 32
"""Clients that may wait for each question that may be under way."""


@define(eq=False)
class _Waiter(Job):
    """A client that waits for its turn."""

    granted: Deferred[None] = field(init=False)


@define(eq=False)
class Turns:
    """
    Asks the remote of one provider about what clients present, in the turns of L{FairQueue}.

    A limit alone would let clients that guess, from many addresses or from the one of a proxy, shut
    out users where the remote is slow to refuse.

    @ivar _most: questions that may be under way at once.
    """

    _clock: IReactorTime
    _patience: float
    _most: int
    _taken: int = field(default=0, init=False)
    _standings: Standings = field(init=False, repr=False)
    _waiting: FairQueue[_Waiter] = field(init=False, repr=False)
    _granting: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._standings = Standings(self._clock)
        self._waiting = FairQueue(self._standings)

    async def ask(self, client: str | None, name: str, work: Callable[[], Work[T]]) -> T:
        """
        Do C{work} when it is the client's turn.

        @param client: the address of the client, if it is known.
        @param name: the user name, or the token, that it presents.

        @raise Rejected: what is presented is refused.
        @raise Unavailable: it was not the client's turn in time, or the remote does not say.
        """
        asker = self._standings.asker(client, name)
        try:
            await within(self._clock, self._patience, self._turn(asker))
        except TimedOut:
            busy = f"{self._most} questions were under way for {self._patience:g} s"
            raise TimedOut(f"{busy}; raise connections if the remote can bear more") from None
        try:
            found = await work()
        except Rejected:
            self._standings.failed(asker)
            raise
        else:
            self._standings.succeeded(asker)
            return found
        finally:
            self._end()

    async def _turn(self, asker: Asker) -> None:
        if self._taken < self._most and not len(self._waiting):
            self._taken += 1
            return
        waiter = _Waiter(asker)
        granted: Deferred[None] = Deferred(lambda _: self._waiting.remove(waiter))
        waiter.granted = granted
        self._waiting.add(waiter)
        if len(self._waiting) > self._most * _WAITING:
            full = f"{self._most} questions are under way, and too many wait"
            self._waiting.shed().granted.errback(Unavailable(full))
        await granted

    def _end(self) -> None:
        self._taken -= 1
        if self._granting:  # the loop below goes on; a thousand that fail at once are no recursion
            return
        self._granting = True
        try:
            while len(self._waiting) and self._taken < self._most:
                waiter = self._waiting.take()
                self._taken += 1
                waiter.granted.callback(None)
        finally:
            self._granting = False
