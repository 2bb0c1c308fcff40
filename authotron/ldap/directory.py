"""A directory: several servers that know the same, and a few connections that are kept open."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from attrs import define, field, frozen
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.endpoints import connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
)
from twisted.logger import Logger

from authotron.errors import Rejected, Unavailable
from authotron.ldap import wire
from authotron.ldap.connection import (
    INVALID_CREDENTIALS,
    SUCCESS,
    UNWILLING,
    Connection,
    Lost,
    said,
)
from authotron.ldap.wire import Garbled, Result
from authotron.racing import T, Work, within
from authotron.world import Connect


class Security(Enum):
    """What happens before anything is said."""

    CLEAR = "none"
    STARTTLS = "starttls"
    TLS = "ldaps"


@frozen
class Server:
    """
    Where a server is.

    @ivar options: what to believe of its certificate; C{None} where there is none.
    """

    host: str
    port: int
    security: Security
    options: IOpenSSLClientConnectionCreator | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@frozen
class Account:
    """Whom we search as."""

    dn: str
    password: str = field(repr=False)


@frozen
class Limits:
    """
    How long, how many.

    @ivar connect: seconds until a connection is there, with TLS and bind.
    @ivar answer: seconds until a question is answered.
    @ivar idle: seconds a connection is kept for the next question.
    @ivar connections: open at most for searches.
    """

    connect: float = 2
    answer: float = 3
    idle: float = 60
    connections: int = 4


_REST, _LONG_REST = 1.0, 10.0
"""Seconds for which a server is left alone after it failed, or refused our own password."""

_REFUSALS = {
    19: "constraint violation",
    32: "no such entry",
    34: "no valid name",
    48: "no password is set",
    INVALID_CREDENTIALS: "wrong password",
    50: "not allowed",
}
"""Results of a bind that are about the user."""

_OF_ACCOUNT = re.compile("account|inactive|inactivated|locked|expired", re.IGNORECASE)
"""What makes an unwilling server one that does not want this user, rather than anybody."""

_POLICY: Mapping[int | None, str | None] = {
    None: None,
    0: "the password has expired",
    1: "the account is locked",
    2: "the password must be changed",
}
_WINDOWS = {
    "525": "unknown user",
    "530": "not allowed at this time",
    "531": "not allowed from here",
    "532": "the password has expired",
    "533": "the account is disabled",
    "701": "the account has expired",
    "773": "the password must be changed",
    "775": "the account is locked",
}
"""What Active Directory hides in its message."""


@define(eq=False)
class _State:
    """A server and when to ask it again."""

    server: Server
    rests_until: float = float("-inf")
    reason: str = ""


@define(eq=False)
class Directory:
    """
    Searches as a service account, over connections that are kept; verifies users over others.

    Servers are asked in order; one that fails is left alone for a moment.
    """

    _clock: IReactorTime
    _connect: Connect
    _servers: Sequence[Server]
    _account: Account | None
    _limits: Limits
    _states: list[_State] = field(init=False)
    _slots: DeferredSemaphore = field(init=False)
    _guests: DeferredSemaphore = field(init=False)
    _idle: deque[tuple[Connection, IDelayedCall]] = field(factory=deque, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._states = [_State(server) for server in self._servers]
        self._slots = DeferredSemaphore(self._limits.connections)
        self._guests = DeferredSemaphore(self._limits.connections)

    async def using(self, work: Callable[[Connection], Work[T]]) -> T:
        """
        Do something with a connection that nobody else uses meanwhile; once more on a new one if it
        was a kept one and is found dead.

        @raise Unavailable: there is none, or the server does not answer.
        """
        await self._turn(self._slots)
        try:
            kept = self._kept()
            if kept is not None:
                try:
                    return await self._on(kept, work)
                except Lost:
                    pass
            _, connection = await self._opened(self._account)
            return await self._on(connection, work)
        finally:
            self._slots.release()

    async def verify(self, dn: str, password: str) -> None:
        """
        Bind as a user, on a connection of its own.

        @raise Rejected: the directory does not take the password.
        @raise Unavailable: it does not say.
        """
        await self.as_user(dn, password, _nothing)

    async def as_user(self, dn: str, password: str, work: Callable[[Connection], Work[T]]) -> T:
        """
        Bind as a user, on a connection of its own, and do something there.

        @raise Rejected: the directory does not take the password.
        @raise Unavailable: it does not say.
        """
        if not (dn and password):  # RFC 4513 section 5.1.2: that would be an anonymous bind
            raise Rejected("no name, or an empty password")
        await self._turn(self._guests)
        try:
            state, connection = await self._opened(None)

            async def bind_first(connection: Connection) -> T:
                _judge(await self._bound(state, connection, dn, password))
                return await work(connection)

            return await self._on(connection, bind_first, keep=False)
        finally:
            self._guests.release()

    def close(self) -> None:
        """Give up all connections that are kept."""
        while self._idle:
            connection, timer = self._idle.popleft()
            timer.cancel()
            connection.close()

    # --- connections ---

    async def _turn(self, turns: DeferredSemaphore) -> None:
        async def wait() -> None:
            await turns.acquire()

        await within(self._clock, self._limits.connect + self._limits.answer, wait())

    def _kept(self) -> Connection | None:
        """The connection used last that is still there."""
        while self._idle:
            connection, timer = self._idle.pop()
            timer.cancel()
            if connection.lost is None:
                return connection
        return None

    async def _on(
        self, connection: Connection, work: Callable[[Connection], Work[T]], *, keep: bool = True
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
            elif not keep:
                connection.close()
            elif connection.lost is None:
                self._keep(connection)
        return outcome

    def _keep(self, connection: Connection) -> None:
        def drop() -> None:
            self._idle.remove(kept)
            connection.close()

        kept = (connection, self._clock.callLater(self._limits.idle, drop))
        self._idle.append(kept)

    async def _opened(self, account: Account | None) -> tuple[_State, Connection]:
        """
        A new connection to the first server that takes one.

        @raise Unavailable: none does.
        """
        for state in self._states:
            if state.rests_until > self._clock.seconds():
                continue
            try:
                opening = self._to(state, account)
                return state, await within(self._clock, self._limits.connect, opening)
            except Unavailable as unavailable:
                self._let_rest(state, str(unavailable), _REST)
        raise Unavailable("; ".join(f"{each.server}: {each.reason}" for each in self._states))

    def _let_rest(self, state: _State, reason: str, seconds: float) -> None:
        until = self._clock.seconds() + seconds
        state.rests_until = max(state.rests_until, until)
        if reason != state.reason:
            self._log.warn(
                "directory {server} cannot be used: {reason}",
                server=str(state.server),
                reason=reason,
                event="ldap.server.unavailable",
            )
        state.reason = reason

    async def _to(self, state: _State, account: Account | None) -> Connection:
        connection = Connection(self._clock, self._limits.answer)
        good = False
        try:
            await self._reach(state.server, connection)
            if account is not None:
                result = await connection.bind(account.dn, account.password)
                if result.code != SUCCESS:
                    reason = f"{account.dn} was refused: {said(result)}"
                    if result.code == INVALID_CREDENTIALS:
                        self._let_rest(state, reason, _LONG_REST)
                    raise Unavailable(reason)
            good = True
        finally:
            if not good and connection.connected:
                connection.abort()
        if state.reason:
            self._log.info(
                "directory {server} can be used", server=str(state.server), event="ldap.server.back"
            )
        state.rests_until, state.reason = float("-inf"), ""
        return connection

    async def _bound(self, state: _State, connection: Connection, dn: str, password: str) -> Result:
        """The result of a user's bind; a server that does not give one is left alone."""
        try:
            return await connection.bind(dn, password, {wire.PASSWORD_POLICY: None})
        except Unavailable as unavailable:
            self._let_rest(state, str(unavailable), _REST)
            raise

    async def _reach(self, server: Server, connection: Connection) -> None:
        endpoint = self._connect(server.host, server.port)
        if server.security is Security.TLS:
            assert server.options is not None
            endpoint = wrapClientTLS(server.options, endpoint)
        try:
            await connectProtocol(endpoint, connection)
        except (ConnectError, ConnectionClosed, DNSLookupError) as error:
            raise Unavailable(f"no connection: {error}") from None
        if server.security is Security.STARTTLS:
            assert server.options is not None
            await connection.start_tls(server.options)


async def _nothing(_: Connection) -> None:
    """Binding was all."""


def _judge(result: Result) -> None:
    """Whether a user may pass, and else whether it is about the user at all."""
    try:
        policy = _POLICY.get(wire.policy_error(result.controls), "the password policy")
    except Garbled as garbled:
        raise Unavailable(f"the bind failed: {garbled}") from None
    if result.code == SUCCESS and policy is None:
        return
    if result.code == SUCCESS or result.code in _REFUSALS:
        raise Rejected(policy or _of_windows(result.message) or _REFUSALS[result.code])
    if result.code == UNWILLING and _OF_ACCOUNT.search(result.message):
        raise Rejected(result.message)
    raise Unavailable(f"the bind failed: {said(result)}")


def _of_windows(message: str) -> str | None:
    found = re.search(r"\bdata ([0-9a-f]{3})\b", message)
    return _WINDOWS.get(found[1]) if found else None
