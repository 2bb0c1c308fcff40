"""A directory: several LDAP servers with the same content, and a pool of open connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from authotron.concurrency.racing import Awaited, T, with_timeout
from authotron.ldap.bind_result import bind_user
from authotron.ldap.connection import Connection
from authotron.ldap.results import ConnectionStale, Disconnected, ServerBusy, ServerFault
from authotron.ldap.server_state import ServerState
from authotron.ldap.servers import Connector, Limits, Server, ServiceAccount
from authotron.limits.fair_queue import Reputations
from authotron.limits.rejected_passwords import PasswordStatus
from authotron.limits.slots import Slots
from authotron.model.errors import Rejected, Unavailable
from authotron.net.world import Connect


@define(eq=False)
class _IdleConnection:
    """An open connection that is ready for the next search."""

    state: ServerState
    connection: Connection
    timer: IDelayedCall


@define(eq=False)
class Directory:
    """
    Searches as the service account over pooled connections, and binds users over separate ones.

    The servers are tried in their configured order. A server that fails is paused, and the next
    one is used. After the pause one caller tries the failed server again.
    """

    _clock: IReactorTime
    _connect: Connect
    _servers: Sequence[Server]
    _account: ServiceAccount | None
    _limits: Limits
    _connector: Connector = field(init=False)
    _states: list[ServerState] = field(init=False)
    _search_slots: Slots = field(init=False)
    _user_slots: Slots = field(init=False)
    _idle: deque[_IdleConnection] = field(factory=deque, init=False)
    _closed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._connector = Connector(self._clock, self._connect, self._limits)
        self._states = [ServerState(server) for server in self._servers]
        reputations = Reputations(self._clock)
        self._search_slots = Slots(self._limits.connections, reputations)
        self._user_slots = Slots(self._limits.connections, reputations)

    async def use_connection(self, work: Callable[[Connection], Awaited[T]]) -> T:
        """
        Call C{work} with a connection to the directory that no other caller uses at the same time.

        C{work} is called again with another connection if the first one turns out to be closed, if
        its server fails, or if the server refuses a search on a connection that was idle.

        @raise Unavailable: all servers failed, or the total timeout expired.
        """
        return await self._with_slot(self._search_slots, lambda: self._run_on_any(work))

    async def verify(self, dn: str, password: str, sent: PasswordStatus | None = None) -> None:
        """
        Verify the password of a user by a bind on a separate connection.

        @raise Rejected: the directory refuses the user or the password.
        @raise Unavailable: the directory failed, so the password may be right or wrong.
        """
        await self.run_as_user(dn, password, _do_nothing, sent)

    async def run_as_user(
        self,
        dn: str,
        password: str,
        work: Callable[[Connection], Awaited[T]],
        sent: PasswordStatus | None = None,
    ) -> T:
        """
        Bind as a user on a separate connection, and call C{work} with that connection.

        @param sent: an object whose attribute C{now} is true from the moment the password is sent
            until the server has answered.
        @raise Rejected: the directory refuses the user or the password.
        @raise Unavailable: the directory failed, so the password may be right or wrong.
        """
        if not (dn and password):  # RFC 4513 section 5.1.2: an empty password binds as anonymous
            raise Rejected("the DN or the password is empty")

        sending = sent or PasswordStatus()

        async def bind_first(connection: Connection) -> T:
            sending.is_sent = True
            try:
                await bind_user(connection, dn, password)
            finally:
                sending.is_sent = False
            return await work(connection)

        async def bind_on_new() -> T:
            return await self._run_on_new(self._states, None, bind_first, keep=False)

        return await self._with_slot(self._user_slots, bind_on_new)

    def close(self) -> None:
        """Close all idle connections; connections in use are closed when their work is done."""
        self._closed = True
        self._drop([*self._idle])

    # --- connections ---

    async def _with_slot(self, slots: Slots, work: Callable[[], Awaited[T]]) -> T:
        """Wait for a free slot and run C{work}, both within the total timeout."""

        async def wait_and_work() -> T:
            await slots.acquire()
            try:
                return await work()
            finally:
                slots.release()

        return await with_timeout(self._clock, self._limits.timeout, wait_and_work())

    async def _run_on_any(self, work: Callable[[Connection], Awaited[T]]) -> T:
        """
        Run C{work} on an idle connection, or on a new connection if none is idle or the idle one
        fails.
        """
        idle, others = self._pop_idle(), self._states
        if idle is not None:
            try:
                return await self._run_on(idle.state, idle.connection, work)
            except (Disconnected, ServerBusy, ConnectionStale):
                pass  # only the idle connection failed: its server may answer on a new connection
            except ServerFault as fault:
                self._failed(idle.state, fault)
                others = [state for state in self._states if state is not idle.state]
                if not others:
                    raise
        return await self._run_on_new(others, self._account, work)

    def _pop_idle(self) -> _IdleConnection | None:
        """Return the idle connection that was used last and is still open."""
        while self._idle:
            idle = self._idle.pop()
            idle.timer.cancel()
            if idle.connection.closed_reason is None:
                return idle
        return None

    async def _run_on_new(
        self,
        states: Sequence[ServerState],
        account: ServiceAccount | None,
        work: Callable[[Connection], Awaited[T]],
        *,
        keep: bool = True,
    ) -> T:
        """
        Run C{work} on a new connection to the first server that does not fail.

        @raise Unavailable: all servers failed or are paused.
        """
        reasons = []
        for state in states:
            if state.is_paused(self._clock.seconds()):
                reasons.append(f"{state.server}: {state.reason}")
                continue
            try:
                return await self._run_on_server(state, account, work, keep=keep)
            except ServerFault as fault:
                reasons.append(f"{state.server}: {fault}")
        raise Unavailable("; ".join(reasons))

    async def _run_on_server(
        self,
        state: ServerState,
        account: ServiceAccount | None,
        work: Callable[[Connection], Awaited[T]],
        *,
        keep: bool,
    ) -> T:
        """Run C{work} on a new connection to one server, and record whether the server failed."""
        trial = state.is_on_trial = bool(state.reason)
        try:
            connection = await self._connector.open(state.server, account)
            outcome = await self._run_on(state, connection, work, keep=keep)
        except ServerFault as fault:
            self._failed(state, fault)
            raise
        except (Rejected, Unavailable):
            state.succeeded(self._clock.seconds())
            raise
        finally:
            if trial:
                state.is_on_trial = False
        state.succeeded(self._clock.seconds())
        return outcome

    async def _run_on(
        self,
        state: ServerState,
        connection: Connection,
        work: Callable[[Connection], Awaited[T]],
        *,
        keep: bool = True,
    ) -> T:
        """
        Run C{work}, and keep the connection for the next search if C{keep} is true.

        The connection is aborted if C{work} fails or is cancelled, since the server may still
        answer a request of C{work}.
        """
        is_clean = False
        try:
            outcome = await work(connection)
            is_clean = True
        except Rejected:
            is_clean = True
            raise
        finally:
            if not is_clean:
                connection.abort()
            elif not keep or self._closed:
                connection.close()
            elif connection.closed_reason is None:
                self._keep(state, connection)
        state.timeouts = 0
        return outcome

    def _keep(self, state: ServerState, connection: Connection) -> None:
        """Keep a connection open for the next search; close it after the idle timeout."""

        def drop() -> None:
            self._idle.remove(idle)
            connection.close()

        timer = self._clock.callLater(self._limits.idle, drop)
        idle = _IdleConnection(state, connection, timer)
        self._idle.append(idle)

    def _failed(self, state: ServerState, fault: ServerFault) -> None:
        """
        Record a failure of a server; if the failure pauses the server, close
        its idle connections.
        """
        if state.failed(fault, self._clock.seconds()):
            self._drop([idle for idle in self._idle if idle.state is state])

    def _drop(self, some: Sequence[_IdleConnection]) -> None:
        for idle in some:
            self._idle.remove(idle)
            idle.timer.cancel()
            idle.connection.close()


async def _do_nothing(_: Connection) -> None:
    """Do nothing, because the caller only needs to know that the bind succeeded."""
