"""A directory: several servers that know the same, and a few connections that are kept open."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from authotron.concurrency.racing import T, Work, within
from authotron.ldap.bind_result import bind_user
from authotron.ldap.connection import (
    AnswerTimeout,
    AnswerTooLarge,
    BindRefused,
    Connection,
    Disconnected,
    ServerFault,
)
from authotron.ldap.servers import (
    Connector,
    Limits,
    Server,
    ServiceAccount,
)
from authotron.limits.fair_queue import Standings
from authotron.limits.slots import Slots
from authotron.limits.wrong_pairs import Sent
from authotron.model.errors import Rejected, Unavailable
from authotron.net.world import Connect

_REST, _LONG_REST, _LONGEST_REST = 1.0, 10.0, 600.0
"""
Seconds for which a server is left alone after it failed, or refused our own password. The latter
doubles with each refusal, since directories lock accounts.
"""

_MOST_LATE = 3
"""So many answers in a row that did not come in time are a failure; one may be a slow question."""


@define(eq=False)
class _State:
    """
    A server and when to ask it again.

    @ivar reason: why it failed when it was asked last.
    @ivar late: answers that did not come in time since one did.
    @ivar refusals: how often in a row the server has refused our own password.
    @ivar on_trial: somebody tries whether it is back, and the others leave it alone.
    """

    server: Server
    rests_until: float = float("-inf")
    reason: str = ""
    late: int = 0
    refusals: int = 0
    on_trial: bool = False

    def rests(self, now: float) -> bool:
        """Whether nobody should ask it now."""
        return self.on_trial or self.rests_until > now


@define(eq=False)
class _IdleConnection:
    """A connection that waits for the next question."""

    state: _State
    connection: Connection
    timer: IDelayedCall


@define(eq=False)
class Directory:
    """
    Searches as a service account, over connections that are kept; verifies users over others.

    Servers are asked in order. Where one fails the next is asked instead, and it is left alone for
    a moment; afterwards the first who comes tries whether it is back.
    """

    _clock: IReactorTime
    _connect: Connect
    _servers: Sequence[Server]
    _account: ServiceAccount | None
    _limits: Limits
    _connector: Connector = field(init=False)
    _states: list[_State] = field(init=False)
    _search_slots: Slots = field(init=False)
    _user_slots: Slots = field(init=False)
    _idle: deque[_IdleConnection] = field(factory=deque, init=False)
    _closed: bool = field(default=False, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._connector = Connector(self._clock, self._connect, self._limits)
        self._states = [_State(server) for server in self._servers]
        standings = Standings(self._clock)
        self._search_slots = Slots(self._limits.connections, standings)
        self._user_slots = Slots(self._limits.connections, standings)

    async def use_connection(self, work: Callable[[Connection], Work[T]]) -> T:
        """
        Do something with a connection that nobody else uses meanwhile; again on another one if that
        is found dead, or its server fails.

        @raise Unavailable: no server is able to.
        """
        return await self._with_slot(self._search_slots, lambda: self._run_on_any(work))

    async def verify(self, dn: str, password: str, sent: Sent | None = None) -> None:
        """
        Bind as a user, on a connection of its own.

        @raise Rejected: the directory does not take the password.
        @raise Unavailable: it does not say.
        """
        await self.run_as_user(dn, password, _do_nothing, sent)

    async def run_as_user(
        self,
        dn: str,
        password: str,
        work: Callable[[Connection], Work[T]],
        sent: Sent | None = None,
    ) -> T:
        """
        Bind as a user, on a connection of its own, and do something there.

        @param sent: hears while the password is with the server.

        @raise Rejected: the directory does not take the password.
        @raise Unavailable: it does not say.
        """
        if not (dn and password):  # RFC 4513 section 5.1.2: that would be an anonymous bind
            raise Rejected("no name, or an empty password")

        sending = sent or Sent()

        async def bind_first(connection: Connection) -> T:
            sending.now = True
            try:
                await bind_user(connection, dn, password)
            finally:
                sending.now = False
            return await work(connection)

        async def as_guest() -> T:
            return await self._run_on_new(self._states, None, bind_first, keep=False)

        return await self._with_slot(self._user_slots, as_guest)

    def close(self) -> None:
        """Give up all connections that are kept, and keep none from now on."""
        self._closed = True
        self._drop([*self._idle])

    # --- connections ---

    async def _with_slot(self, turns: Slots, work: Callable[[], Work[T]]) -> T:
        """Do something when it is our turn, and both in the time that there is."""

        async def wait_and_work() -> T:
            await turns.acquire()
            try:
                return await work()
            finally:
                turns.release()

        return await within(self._clock, self._limits.timeout, wait_and_work())

    async def _run_on_any(self, work: Callable[[Connection], Work[T]]) -> T:
        kept, others = self._kept(), self._states
        if kept is not None:
            try:
                return await self._run_on(kept.state, kept.connection, work)
            except Disconnected:
                pass  # it was dead already, which says nothing of the server
            except ServerFault as fault:
                self._failed(kept.state, fault)
                others = [state for state in self._states if state is not kept.state]
                if not others:
                    raise
        return await self._run_on_new(others, self._account, work)

    def _kept(self) -> _IdleConnection | None:
        """The connection used last that is still there."""
        while self._idle:
            kept = self._idle.pop()
            kept.timer.cancel()
            if kept.connection.lost is None:
                return kept
        return None

    async def _run_on_new(
        self,
        states: Sequence[_State],
        account: ServiceAccount | None,
        work: Callable[[Connection], Work[T]],
        *,
        keep: bool = True,
    ) -> T:
        """
        Do something on a new connection to the first server that is able to.

        @raise Unavailable: none is.
        """
        reasons = []
        for state in states:
            if state.rests(self._clock.seconds()):
                reasons.append(f"{state.server}: {state.reason}")
                continue
            try:
                return await self._run_on_server(state, account, work, keep=keep)
            except ServerFault as fault:
                reasons.append(f"{state.server}: {fault}")
        raise Unavailable("; ".join(reasons))

    async def _run_on_server(
        self,
        state: _State,
        account: ServiceAccount | None,
        work: Callable[[Connection], Work[T]],
        *,
        keep: bool,
    ) -> T:
        trial = state.on_trial = bool(state.reason)
        try:
            connection = await self._connector.open(state.server, account)
            outcome = await self._run_on(state, connection, work, keep=keep)
        except ServerFault as fault:
            self._failed(state, fault)
            raise
        except (Rejected, Unavailable):
            self._served(state)
            raise
        finally:
            if trial:
                state.on_trial = False
        self._served(state)
        return outcome

    async def _run_on(
        self,
        state: _State,
        connection: Connection,
        work: Callable[[Connection], Work[T]],
        *,
        keep: bool = True,
    ) -> T:
        """Only a connection on which nothing went wrong, and nobody gave up, ends well."""
        good = False
        try:
            outcome = await work(connection)
            good = True
        except Rejected:
            good = True
            raise
        finally:
            if not good:
                connection.abort()
            elif not keep or self._closed:
                connection.close()
            elif connection.lost is None:
                self._keep(state, connection)
        state.late = 0
        return outcome

    def _keep(self, state: _State, connection: Connection) -> None:
        def drop() -> None:
            self._idle.remove(kept)
            connection.close()

        kept = _IdleConnection(state, connection, self._clock.callLater(self._limits.idle, drop))
        self._idle.append(kept)

    def _drop(self, some: Sequence[_IdleConnection]) -> None:
        for kept in some:
            self._idle.remove(kept)
            kept.timer.cancel()
            kept.connection.close()

    # --- how well servers are ---

    def _failed(self, state: _State, fault: ServerFault) -> None:
        """Leave a server alone, unless it was only late, or its answer only too long."""
        if isinstance(fault, AnswerTooLarge):
            return
        if isinstance(fault, AnswerTimeout):
            state.late += 1
            if state.late < _MOST_LATE and not state.reason:
                return
        seconds = _REST
        if isinstance(fault, BindRefused):
            seconds = min(_LONG_REST * 2.0 ** min(state.refusals, 10), _LONGEST_REST)
            state.refusals += 1
        state.rests_until = max(state.rests_until, self._clock.seconds() + seconds)
        if str(fault) != state.reason:
            self._log.warn(
                "directory {server} cannot be used: {reason}",
                server=str(state.server),
                reason=str(fault),
                event="ldap.server.unavailable",
            )
        state.reason = str(fault)
        self._drop([kept for kept in self._idle if kept.state is state])

    def _served(self, state: _State) -> None:
        """It did what it should; but one that failed others meanwhile goes on resting."""
        state.late = state.refusals = 0
        if state.reason and state.rests_until <= self._clock.seconds():
            state.reason = ""
            self._log.info(
                "directory {server} can be used", server=str(state.server), event="ldap.server.back"
            )


async def _do_nothing(_: Connection) -> None:
    """Binding was all."""
