"""The conversation with Redis."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import TimedOut, Unavailable
from authotron.net.redis import (
    Conversation,
    Login,
    Redis,
    Refused,
)
from authotron.testing.worlds import NOW, clock_at


class Endpoint:
    """Connects when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Deferred[Any]]] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        connecting: Deferred[Any] = Deferred()
        self.asked.append((factory, connecting))
        return connecting

    def accept(self) -> tuple[Conversation, StringTransport]:
        factory, connecting = self.asked.pop(0)
        conversation, transport = factory.buildProtocol(None), StringTransport()
        conversation.makeConnection(transport)
        connecting.callback(conversation)
        return conversation, transport


class ConversationTests(SynchronousTestCase):
    """Questions and answers on one connection."""

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.conversation = Conversation(clock_at(NOW))
        self.conversation.makeConnection(self.transport)

    def test_question(self) -> None:
        """Each word with its length in bytes, so that no word can be two."""
        self.conversation.ask("SET", "a\r\n", "\u2603", 7, b"\0")
        written = b"*5\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$3\r\n\xe2\x98\x83\r\n$1\r\n7\r\n$1\r\n\0\r\n"
        self.assertEqual(self.transport.value(), written)

    def test_answers(self) -> None:
        """All kinds, in the order of the questions, in pieces of any size."""
        wire = b"+OK\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n"
        wire += b"*3\r\n$0\r\n\r\n*1\r\n:1\r\n$-1\r\n-NO x\r\n"
        for size in (1, 2, 3, 7, len(wire)):
            answers = [self.conversation.ask("X") for _ in range(7)]
            for start in range(0, len(wire), size):
                self.conversation.dataReceived(wire[start : start + size])
            found = [self.successResultOf(answer) for answer in answers[:6]]
            self.assertEqual(found, [b"OK", -7, b"a\r\n", None, None, [b"", [1], None]])
            self.assertEqual(str(self.failureResultOf(answers[6], Refused).value), "NO")

    def test_refusal_without_its_text(self) -> None:
        """Of an error only the first word is kept: the rest may repeat what was sent."""
        answer = self.conversation.ask("AUTH", "canary")
        self.conversation.dataReceived(b"-WRONGPASS invalid canary\r\n")
        self.assertEqual(str(self.failureResultOf(answer, Refused).value), "WRONGPASS")

    def test_late_answer(self) -> None:
        """An answer that nobody waits for any more is not taken for another's."""
        late, next_ = self.conversation.ask("X"), self.conversation.ask("Y")
        late.addErrback(lambda _: None)
        late.cancel()
        self.conversation.dataReceived(b":1\r\n:2\r\n")
        self.assertEqual(self.successResultOf(next_), 2)

    def test_nested(self) -> None:
        """Lists within lists without end are no answer of Redis."""
        answer = self.conversation.ask("X")
        self.conversation.dataReceived(b"*1\r\n" * 100_000)
        self.assertFalse(self.conversation.is_alive(NOW))
        self.conversation.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(answer, Unavailable)

    def test_lost(self) -> None:
        """All who wait hear that the connection is lost, and so does who asks later."""
        waiting = self.conversation.ask("X")
        self.conversation.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(waiting, Unavailable)
        self.failureResultOf(self.conversation.ask("Y"), Unavailable)

    def test_lost_over_TLS_S_TLS(self) -> None:
        """A lost connection is not aborted, which a transport of TLS cannot bear, but replaced."""

        def abort() -> None:
            raise AttributeError("a transport of TLS that was lost cannot be aborted")

        self.transport.abortConnection = abort  # type: ignore[method-assign] # as TLS does
        self.conversation.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(self.conversation.end())
        self.conversation.abort()

    @given(st.binary(min_size=1))
    def test_anything(self, wire: bytes) -> None:
        """Whoever answers nonsense is not listened to."""
        conversation = Conversation(clock_at(NOW))
        conversation.makeConnection(StringTransport())
        conversation.ask("X").addErrback(lambda _: None)
        conversation.dataReceived(wire)
        conversation.connectionLost(Failure(ConnectionDone()))


class RedisTests(SynchronousTestCase):
    """A connection that comes back."""

    def setUp(self) -> None:
        self.clock, self.endpoint = clock_at(NOW), Endpoint()
        self.redis = Redis(self.endpoint, Login(None, None, 0), self.clock)  # type: ignore[arg-type] # as much as is needed

    def ask(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.redis.ask("PING"))

    def answer(self, conversation: Conversation, *lines: bytes) -> None:
        for line in lines:
            conversation.dataReceived(line + b"\r\n")

    def test_on_demand(self) -> None:
        """It is made once for all who wait for it, and used again."""
        waiting = [self.ask(), self.ask()]
        self.assertEqual(len(self.endpoint.asked), 1)
        conversation, _ = self.endpoint.accept()
        self.answer(conversation, b"+OK", b"+ONE", b"+TWO")
        self.assertEqual([self.successResultOf(each) for each in waiting], [b"ONE", b"TWO"])
        third = self.ask()
        self.answer(conversation, b"+THREE")
        self.assertEqual(self.successResultOf(third), b"THREE")

    def test_refused(self) -> None:
        """Where nobody listens it is an outage, and the next question tries again."""
        waiting = self.ask()
        self.endpoint.asked.pop()[1].errback(ConnectError())
        self.failureResultOf(waiting, Unavailable)
        again = self.ask()
        self.answer(self.endpoint.accept()[0], b"+OK", b"+PONG")
        self.assertEqual(self.successResultOf(again), b"PONG")

    def test_wrong_password(self) -> None:
        """A refused login is an outage of ours; the connection is not kept."""
        login = Login("me", "canary", 3)
        self.redis = Redis(self.endpoint, login, self.clock)  # type: ignore[arg-type] # as much as is needed
        waiting = self.ask()
        conversation, transport = self.endpoint.accept()
        self.assertIn(b"AUTH\r\n$2\r\nme\r\n$6\r\ncanary", transport.value())
        self.answer(conversation, b"-WRONGPASS canary")
        error = self.failureResultOf(waiting, Unavailable).value
        self.assertNotIn("canary", f"{error} {login!r}")
        self.assertTrue(transport.disconnecting)

    def test_silent(self) -> None:
        """One that does not even answer the login is given up after a while."""
        waiting = self.ask()
        self.endpoint.accept()
        self.clock.advance(3)
        self.failureResultOf(waiting, TimedOut)

    def test_frozen(self) -> None:
        """A connection that has long been silent is replaced by a new one."""
        first = self.ask()
        self.answer(self.endpoint.accept()[0], b"+OK")
        first.addErrback(lambda _: None)
        self.clock.advance(6)
        second = self.ask()
        self.answer(self.endpoint.accept()[0], b"+OK", b"+PONG")
        self.assertEqual(self.successResultOf(second), b"PONG")

    def test_one_leaves(self) -> None:
        """Who waits for a connection and leaves takes it away from nobody."""
        leaver, waiting = self.ask(), self.ask()
        leaver.addErrback(lambda _: None)
        leaver.cancel()
        self.answer(self.endpoint.accept()[0], b"+OK", b"+PONG")
        self.assertEqual(self.successResultOf(waiting), b"PONG")
