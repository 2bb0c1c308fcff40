"""Clients take turns at the remote service that verifies their credentials."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.racing import Awaited, T, with_timeout
from authotron.limits.fair_queue import Reputations
from authotron.limits.slots import Slots
from authotron.model.errors import Rejected, TimedOut


@define(eq=False)
class ClientTurns:
    """
    Calls the remote of one provider with credentials of clients, which take turns (see L{Slots}).

    How a remote service answers affects later turns: clients with rejected passwords wait longer
    than clients with accepted ones.

    These slots do not replace the slots of L{authotron.net.http.WebClient}: one turn may send
    several HTTP requests, and if both took slots of one pool, turns would wait for each other
    without end. Requests for key sets and discovery documents do not wait for a slot.

    @ivar _timeout: seconds that a client may wait for its turn.
    @ivar _most: the maximum number of calls to the remote that are under way at once.
    """

    _clock: IReactorTime
    _timeout: float
    _most: int
    _slots: Slots = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._slots = Slots(self._most, Reputations(self._clock))

    async def ask(self, client: str | None, name: str, work: Callable[[], Awaited[T]]) -> T:
        """
        Run C{work} when it is the client's turn.

        @param client: the address of the client, if it is known.
        @param name: the user name or the token that the client has sent.

        @raise Rejected: the remote rejects the credential.
        @raise Unavailable: the client did not get its turn in time, or the remote is unavailable.
        """
        reputations = self._slots.reputations
        asker = reputations.asker(client, name)
        try:
            await with_timeout(self._clock, self._timeout, self._slots.acquire(asker))
        except TimedOut:
            busy = f"{self._most} requests to the remote were under way for {self._timeout:g} s"
            advice = "raise `connections` if the remote can serve more requests at once"
            raise TimedOut(f"{busy}; {advice}") from None
        try:
            found = await work()
        except Rejected:
            reputations.failed(asker)
            raise
        else:
            reputations.succeeded(asker)
            return found
        finally:
            self._slots.release()
