"""
A small Redis client: commands and answers of the Redis protocol (RESP 2).

txredisapi, the usual library for Twisted, never reconnects after one refused password, waits
without a timeout while the server is down, and does not accept a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from authotron.concurrency.racing import with_timeout
from authotron.concurrency.waiters import Waiters
from authotron.model.errors import TimedOut, Unavailable
from authotron.net import reasons, tls
from authotron.net.reasons import Reason
from authotron.net.redis_errors import ErrorAnswer, describe, parse

Word = bytes | str | int | float

_MAX_DEPTH = 8
"""Maximum depth of nested arrays in an answer of Redis."""

_MAX_BYTES = 16 * 1024 * 1024
"""
Maximum number of bytes that answers of Redis may take up before they are parsed; the connection is
closed beyond that.
"""

ANSWER_TIMEOUT = 5.0
"""Seconds to wait for an answer of Redis, after which the connection is replaced."""

CONNECT_TIMEOUT = 2.8
"""Seconds within which a connection to Redis must be established and logged in."""


_MOVED = frozenset(
    {
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOAUTH",
        "NOMASTERLINK",
        "NOREPLICAS",
        "READONLY",
        "TRYAGAIN",
    }
)
"""
Error codes by which a Redis server says that it executed nothing; after a failover the server may
no longer be the primary.
"""


class _Incomplete(Exception):
    """Raised by the parser if only a part of an answer of Redis has arrived."""


class RedisConnection(Protocol):
    """One connection to Redis; answers arrive in the order of the commands."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._received = bytearray()
        self._waiting: deque[tuple[float, Sequence[Word], Deferred[Any]]] = deque()
        self._lost = False
        self._lost_because = str(Reason.CONNECTION_LOST)
        self._retired = False
        self._ended: Deferred[None] = Deferred()

    def is_alive(self, now: float) -> bool:
        """
        Whether the connection is open, and no command has waited for its answer
        for more than 5 s.
        """
        return not (self._lost or self._retired) and not (
            self._waiting and now - self._waiting[0][0] > ANSWER_TIMEOUT
        )

    def ask(self, *words: Word) -> Deferred[Any]:
        """
        Send a command to Redis; the Deferred fires with the answer.

        The Deferred fails with L{ErrorAnswer} if Redis answers with an error, and with
        L{Unavailable} if the connection is lost.
        """
        answer: Deferred[Any] = Deferred()
        if self._lost or self.transport is None:
            answer.errback(Unavailable(self._lost_because))
            return answer
        self._waiting.append((self._clock.seconds(), words, answer))
        self.transport.write(_command(words))
        return answer

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > _MAX_BYTES:
            self.abort()
            return
        place = 0
        while self._expects_answer():
            try:
                answer, place = _answer(self._received, place)
                self._take(answer)
            except _Incomplete:
                break
            except ValueError:
                self._lost_because = f"{Reason.BAD_ANSWER}: not in the Redis protocol"
                self.abort()
                return
        del self._received[:place]
        if self._retired and not self._waiting:
            self.abort()

    def _expects_answer(self) -> bool:
        return bool(self._waiting)

    def _take(self, answer: Any) -> None:
        """Give an answer of Redis to the command that waits longest."""
        _, words, waiting = self._waiting.popleft()
        if isinstance(answer, ErrorAnswer):
            answer.blame(words)
            waiting.errback(answer)
        else:
            waiting.callback(answer)

    def connectionLost(self, reason: Failure = Failure(Unavailable())) -> None:  # noqa: B008 - named by the protocol class of Twisted
        self._lost = True
        if reason.value and reasons.reason_of(reason.value) is Reason.TLS_FAILED:
            self._lost_because = tls.describe_end(reason)
        # The transport is removed after the connection was lost, so that abort does nothing:
        # Twisted would raise an exception if a TLS transport were aborted after that.
        self.transport = None
        while self._waiting:
            self._waiting.popleft()[-1].errback(Unavailable(self._lost_because))
        if not self._ended.called:
            self._ended.callback(None)

    def is_closed(self) -> bool:
        """Whether the connection to Redis was closed by either side."""
        return self._ended.called

    def end(self) -> Deferred[None]:
        """Close the connection to Redis; the Deferred fires once the connection is closed."""
        self.abort()
        return self._ended

    def retire(self) -> None:
        """
        Accept no further command for Redis, and close the connection once every command sent so far
        is answered.
        """
        self._retired = True
        if not self._waiting:
            self.abort()

    def abort(self) -> None:
        """Abort the connection to Redis."""
        self._lost = True
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined] # all stream transports have this method


def _command(words: Sequence[Word]) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def _answer(data: bytearray, place: int, depth: int = 0) -> tuple[Any, int]:
    end = data.find(b"\r\n", place)
    if end < 0:
        raise _Incomplete
    kind, text, place = data[place : place + 1], bytes(data[place + 1 : end]), end + 2
    if kind == b"+":
        return text, place
    if kind == b"-":
        return parse(text), place
    if kind == b":":
        return int(text), place
    if kind == b"$":
        return _bulk(data, place, int(text))
    if kind == b"*":
        return _array(data, place, int(text), depth)
    raise ValueError("the answer is not in the Redis protocol")


def _bulk(data: bytearray, place: int, length: int) -> tuple[bytes | None, int]:
    if length < 0:
        return None, place
    if len(data) < place + length + 2:
        raise _Incomplete
    return bytes(data[place : place + length]), place + length + 2


def _array(data: bytearray, place: int, length: int, depth: int) -> tuple[list[Any] | None, int]:
    if depth > _MAX_DEPTH:
        raise ValueError("arrays in the answer of Redis are nested too deeply")
    if length < 0:
        return None, place
    found = []
    for _ in range(length):
        each, place = _answer(data, place, depth + 1)
        found.append(each)
    return found, place


@frozen
class Login:
    """
    The user name and password for Redis, and the number of the Redis database.

    @ivar wants_primary: whether to refuse a Redis server that is not the primary.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int | None = 0
    wants_primary: bool = False

    async def log_in(self, connection: RedisConnection) -> None:
        """
        Log in and select the Redis database, before any other command of the connection.

        @raise ErrorAnswer: Redis rejects the login or the number of the database.
        @raise Unavailable: the login requires a primary, but the Redis server is not a primary.
        """
        if self.password is not None:
            user = [self.username] if self.username else []
            await connection.ask("AUTH", *user, self.password)
        if self.database is not None:
            await connection.ask("SELECT", self.database)
        if self.wants_primary:
            role = await connection.ask("ROLE")
            if role[0] != b"master":
                raise Unavailable("the Redis server that Sentinel named is not a primary")


C = TypeVar("C", bound=RedisConnection)


async def open_connection(
    endpoint: IStreamClientEndpoint, login: Login, build: Callable[[], C]
) -> C:
    """
    Connect to Redis and log in; a connection whose login fails is closed.

    @param build: builds the protocol of the connection.
    """
    factory = Factory.forProtocol(build)
    connection: Any = await endpoint.connect(factory)
    try:
        await login.log_in(connection)
    except BaseException:
        connection.abort()
        raise
    return cast(C, connection)


@define(eq=False)
class Redis:
    """
    A Redis client that connects when a command needs it, and reconnects after a lost connection.

    Twisted's C{ClientService} is not used, because it never reconnects after a failed login.

    @ivar _name: the Redis server with its address, for error messages.
    """

    _endpoint: IStreamClientEndpoint
    _login: Login
    _clock: IReactorTime
    _name: str = "Redis"
    _connection: RedisConnection | None = field(default=None, init=False)
    _connecting: Deferred[RedisConnection] | None = field(default=None, init=False)
    _waiting: Waiters[RedisConnection] = field(factory=Waiters, init=False)
    _retired: set[RedisConnection] = field(factory=set, init=False)

    async def stop(self) -> None:
        """Close the connection to Redis, or stop an attempt to connect."""
        if self._connecting is not None:
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        retired, self._retired = self._retired, set()
        for each in filter(None, [connection, *retired]):
            await each.end()

    async def ask(self, *words: Word) -> Any:
        """
        Send a command to Redis and return the answer.

        @raise Unavailable: Redis cannot be reached, or answers the command with an error.
        """
        [answer] = await self.ask_all([words])
        return answer

    async def ask_all(
        self, commands: Sequence[Sequence[Word]], *, repeatable: bool = True
    ) -> list[Any]:
        """
        Send several commands to Redis at once and return their answers.

        If Redis answers that it cannot execute the commands, because it is a replica, is loading
        its data or requires a login, the client connects anew and sends the commands once more.
        Commands that may be executed twice are also sent once more if a kept connection is lost,
        because Redis or a network device closed the unused connection.

        @param repeatable: whether the commands have the same effect if Redis executes them twice.

        @raise Unavailable: Redis cannot be reached, or answers a command with an error.
        """
        for is_last in (False, True):
            kept = self._connection
            connection = await self._connected()
            try:
                return await _answers(connection, commands)
            except Unavailable as error:
                if is_last or not repeatable or connection is not kept:
                    raise Unavailable(f"{self._name}: {error}") from None
            except ErrorAnswer as error:
                if error.code in _MOVED:
                    self._replace(connection)
                if is_last or error.code not in _MOVED:
                    raise Unavailable(describe(error)) from None
        raise AssertionError(
            "unreachable, because the last attempt to send the commands returns or raises"
        )

    def _replace(self, connection: RedisConnection) -> None:
        """
        Let the next command use a new connection to Redis, and close C{connection} as soon as the
        commands that were sent on it are answered.
        """
        if self._connection is connection:
            self._connection = None
        self._retired = {each for each in self._retired if not each.is_closed()}
        self._retired.add(connection)
        connection.retire()

    async def _connected(self) -> RedisConnection:
        """
        Return the open connection to Redis, or connect; all callers share one
        attempt to connect.
        """
        connection = self._connection
        if connection is not None and connection.is_alive(self._clock.seconds()):
            return connection
        waiting = self._waiting.join()
        if self._connecting is None:
            self._connecting = Deferred.fromCoroutine(self._connect())
            self._connecting.addCallbacks(self._adopt, self._not_connected)
        return await waiting

    async def _connect(self) -> RedisConnection:
        try:
            return await with_timeout(self._clock, CONNECT_TIMEOUT, self._open())
        except ErrorAnswer as error:
            raise Unavailable(describe(error)) from None
        except TimedOut as late:
            raise TimedOut(f"{self._name} cannot be reached: {late}") from None
        except Unavailable as error:
            raise Unavailable(f"{self._name} cannot be reached: {error}") from None
        except reasons.NOT_CONNECTED as error:
            raise Unavailable(
                f"{self._name} cannot be reached: {reasons.describe(error)}"
            ) from None

    async def _open(self) -> RedisConnection:
        build = partial(RedisConnection, self._clock)
        return await open_connection(self._endpoint, self._login, build)

    def _adopt(self, connection: RedisConnection) -> None:
        if self._connection is not None:
            self._connection.abort()
        self._connection = connection
        self._connecting = None
        self._waiting.succeed(connection)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        self._waiting.fail(failure)


async def _answers(connection: RedisConnection, commands: Sequence[Sequence[Word]]) -> list[Any]:
    answers = [connection.ask(*words) for words in commands]
    try:
        return [await answer for answer in answers]
    finally:
        # If one command of several is answered with an error, the caller gets this error, and
        # errors in the answers that follow are ignored.
        for answer in answers:
            answer.addErrback(lambda _: None)
