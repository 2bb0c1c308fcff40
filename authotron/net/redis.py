"""
Just enough of the Redis protocol (RESP 2): ask, and be answered.

The usual library for Twisted gives up for ever after one refused password, waits for ever while
the server is down, and cannot be given a clock. What is needed here is small.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from attrs import define, field, frozen
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from authotron.concurrency.racing import with_timeout
from authotron.concurrency.waiters import Waiters
from authotron.model.errors import Unavailable

Word = bytes | str | int | float

_DEEPEST = 8
_LARGEST = 16 * 1024 * 1024
_SILENCE = 5.0
"""Seconds without an answer after which a connection is given up."""
_CONNECT = 3.0


class Refused(Exception):
    """Redis answered with an error, of which only the first word is kept."""


_NO_CONNECTION = (ConnectError, ConnectionClosed, OSError, SSL.Error, Refused)


class _Incomplete(Exception):
    """More bytes are needed."""


class Conversation(Protocol):
    """One connection; answers come in the order of the questions."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._received = bytearray()
        self._waiting: deque[tuple[float, Deferred[Any]]] = deque()
        self._lost = False
        self._ended: Deferred[None] = Deferred()

    def is_alive(self, now: float) -> bool:
        """Whether it is worth asking: not where somebody has waited for very long already."""
        return not self._lost and not (self._waiting and now - self._waiting[0][0] > _SILENCE)

    def ask(self, *words: Word) -> Deferred[Any]:
        """
        Give a command.

        It fails with L{Refused}, or with L{Unavailable} when the connection is lost.
        """
        answer: Deferred[Any] = Deferred()
        if self._lost or self.transport is None:
            answer.errback(Unavailable("the connection to Redis was lost"))
            return answer
        self._waiting.append((self._clock.seconds(), answer))
        self.transport.write(_command(words))
        return answer

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > _LARGEST:
            self.abort()
            return
        place = 0
        while self._waiting:
            try:
                answer, place = _answer(self._received, place)
            except _Incomplete:
                break
            except ValueError:
                self.abort()
                return
            _, waiting = self._waiting.popleft()
            if isinstance(answer, Refused):
                waiting.errback(answer)
            else:
                waiting.callback(answer)
        del self._received[:place]

    def connectionLost(self, reason: Failure = Failure(Unavailable())) -> None:  # noqa: B008 - as in the class above
        self._lost = True
        self.transport = None  # over TLS it cannot bear to be aborted any more
        while self._waiting:
            self._waiting.popleft()[1].errback(Unavailable("the connection to Redis was lost"))
        if not self._ended.called:
            self._ended.callback(None)

    def end(self) -> Deferred[None]:
        """Disconnect; it fires when that is done."""
        self.abort()
        return self._ended

    def abort(self) -> None:
        """Neither ask nor listen any more."""
        self._lost = True
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined] # of all stream transports


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
        return Refused(text.split(b" ")[0].decode("ascii", "replace")), place
    if kind == b":":
        return int(text), place
    if kind == b"$":
        return _bulk(data, place, int(text))
    if kind == b"*":
        return _array(data, place, int(text), depth)
    raise ValueError("not the protocol of Redis")


def _bulk(data: bytearray, place: int, length: int) -> tuple[bytes | None, int]:
    if length < 0:
        return None, place
    if len(data) < place + length + 2:
        raise _Incomplete
    return bytes(data[place : place + length]), place + length + 2


def _array(data: bytearray, place: int, length: int, depth: int) -> tuple[list[Any] | None, int]:
    if depth > _DEEPEST:
        raise ValueError("not an answer of Redis")
    if length < 0:
        return None, place
    found = []
    for _ in range(length):
        each, place = _answer(data, place, depth + 1)
        found.append(each)
    return found, place


@frozen
class Login:
    """Who we are to Redis, and which of its databases we want."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0

    async def greet(self, conversation: Conversation) -> None:
        """What must be said first on every connection."""
        if self.password is not None:
            who = [self.username] if self.username else []
            await conversation.ask("AUTH", *who, self.password)
        await conversation.ask("SELECT", self.database)


@define(eq=False)
class Redis:
    """
    A connection to Redis that is made when it is needed, and again when it was lost.

    Twisted's C{ClientService} would do that, too, but it breaks where a login fails.
    """

    _endpoint: IStreamClientEndpoint
    _login: Login
    _clock: IReactorTime
    _conversation: Conversation | None = field(default=None, init=False)
    _connecting: Deferred[Conversation] | None = field(default=None, init=False)
    _waiting: Waiters[Conversation] = field(factory=Waiters, init=False)

    async def stop(self) -> None:
        """Disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            await conversation.end()

    async def ask(self, *words: Word) -> Any:
        """
        Give a command.

        @raise Unavailable: there is no connection, or Redis refuses.
        """
        [answer] = await self.ask_all([words])
        return answer

    async def ask_all(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """
        Give several commands at once.

        @raise Unavailable: there is no connection, or Redis refuses one of them.
        """
        conversation = await self._connected()
        answers = [conversation.ask(*words) for words in commands]
        try:
            return [await answer for answer in answers]
        except Refused as error:
            raise Unavailable(f"Redis refuses ({error})") from None
        finally:
            for answer in answers:  # those behind one that failed
                answer.addErrback(lambda _: None)

    async def _connected(self) -> Conversation:
        """All who need a connection wait for one and the same."""
        conversation = self._conversation
        if conversation is not None and conversation.is_alive(self._clock.seconds()):
            return conversation
        waiting = self._waiting.join()
        if self._connecting is None:
            self._connecting = Deferred.fromCoroutine(self._connect())
            self._connecting.addCallbacks(self._adopt, self._not_connected)
        return await waiting

    async def _connect(self) -> Conversation:
        try:
            return await with_timeout(self._clock, _CONNECT, self._introduced())
        except _NO_CONNECTION as error:
            raise Unavailable(f"Redis cannot be reached ({_told(error)})") from None

    async def _introduced(self) -> Conversation:
        factory = Factory.forProtocol(partial(Conversation, self._clock))
        conversation: Any = await self._endpoint.connect(factory)
        try:
            await self._login.greet(conversation)
        except BaseException:
            conversation.abort()
            raise
        return cast(Conversation, conversation)

    def _adopt(self, conversation: Conversation) -> None:
        if self._conversation is not None:
            self._conversation.abort()
        self._conversation = conversation
        self._connecting = None
        self._waiting.succeed(conversation)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        self._waiting.fail(failure)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, Refused) else type(error).__name__
