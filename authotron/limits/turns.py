"""Ask a remote in turns of the clients whose credentials it judges."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.racing import Awaited, T, with_timeout
from authotron.limits.fair_queue import Standings
from authotron.limits.slots import Slots
from authotron.model.errors import Rejected, TimedOut


@define(eq=False)
class RemoteTurns:
    """
    Asks the remote of one provider about what clients present, in the turns of L{Slots}.

    What the remote says of a client counts for its next turn: clients that guess fall behind those
    whose users were accepted.

    @ivar _patience: seconds that a client waits for its turn.
    @ivar _most: questions that may be under way at once.
    """

    _clock: IReactorTime
    _patience: float
    _most: int
    _slots: Slots = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._slots = Slots(self._most, Standings(self._clock))

    async def ask(self, client: str | None, name: str, work: Callable[[], Awaited[T]]) -> T:
        """
        Do C{work} when it is the client's turn.

        @param client: the address of the client, if it is known.
        @param name: the user name, or the token, that it presents.

        @raise Rejected: what is presented is refused.
        @raise Unavailable: it was not the client's turn in time, or the remote does not say.
        """
        standings = self._slots.standings
        asker = standings.asker(client, name)
        try:
            await with_timeout(self._clock, self._patience, self._slots.acquire(asker))
        except TimedOut:
            busy = f"{self._most} questions were under way for {self._patience:g} s"
            raise TimedOut(f"{busy}; raise connections if the remote can bear more") from None
        try:
            found = await work()
        except Rejected:
            standings.failed(asker)
            raise
        else:
            standings.succeeded(asker)
            return found
        finally:
            self._slots.release()
