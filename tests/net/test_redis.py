"""The Redis client."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import TimedOut, Unavailable
from authotron.net.redis import Login, Redis, RedisConnection
from authotron.net.redis_errors import ErrorAnswer, describe
from authotron.testing.worlds import NOW, clock_at


class Endpoint:
    """Connects when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Deferred[Any]]] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        connecting: Deferred[Any] = Deferred()
        self.asked.append((factory, connecting))
        return connecting

    def accept(self) -> tuple[RedisConnection, StringTransport]:
        factory, connecting = self.asked.pop(0)
        connection, transport = factory.buildProtocol(None), StringTransport()
        connection.makeConnection(transport)
        connecting.callback(connection)
        return connection, transport


class RedisConnectionTests(SynchronousTestCase):
    """Commands and answers on one connection."""

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.connection = RedisConnection(clock_at(NOW))
        self.connection.makeConnection(self.transport)

    def test_command(self) -> None:
        """
        Each word of a command is sent with its length in bytes, so that no word can become
        two.
        """
        self.connection.ask("SET", "a\r\n", "\u2603", 7, b"\0")
        written = b"*5\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$3\r\n\xe2\x98\x83\r\n$1\r\n7\r\n$1\r\n\0\r\n"
        self.assertEqual(self.transport.value(), written)

    def test_answers(self) -> None:
        """Answers of all kinds are read in the order of the commands, in pieces of any size."""
        wire = b"+OK\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n"
        wire += b"*3\r\n$0\r\n\r\n*1\r\n:1\r\n$-1\r\n-NO x\r\n"
        for size in (1, 2, 3, 7, len(wire)):
            answers = [self.connection.ask("X") for _ in range(7)]
            for start in range(0, len(wire), size):
                self.connection.dataReceived(wire[start : start + size])
            found = [self.successResultOf(answer) for answer in answers[:6]]
            self.assertEqual(found, [b"OK", -7, b"a\r\n", None, None, [b"", [1], None]])
            self.assertEqual(str(self.failureResultOf(answers[6], ErrorAnswer).value), "NO")

    def test_error_without_its_text(self) -> None:
        """Only the first word of an error is kept, since the rest may repeat what was sent."""
        answer = self.connection.ask("AUTH", "canary")
        self.connection.dataReceived(b"-WRONGPASS invalid canary\r\n")
        self.assertEqual(str(self.failureResultOf(answer, ErrorAnswer).value), "WRONGPASS")

    def test_late_answer(self) -> None:
        """The answer to a cancelled command is not given to another command."""
        late, next_ = self.connection.ask("X"), self.connection.ask("Y")
        late.addErrback(lambda _: None)
        late.cancel()
        self.connection.dataReceived(b":1\r\n:2\r\n")
        self.assertEqual(self.successResultOf(next_), 2)

    def test_nested(self) -> None:
        """Arrays that are nested without end are not an answer of Redis."""
        answer = self.connection.ask("X")
        self.connection.dataReceived(b"*1\r\n" * 100_000)
        self.assertFalse(self.connection.is_alive(NOW))
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(answer, Unavailable)

    def test_lost(self) -> None:
        """If the connection is lost, commands that wait fail, and so do later ones."""
        waiting = self.connection.ask("X")
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(waiting, Unavailable)
        self.failureResultOf(self.connection.ask("Y"), Unavailable)

    def test_lost_over_TLS_S_TLS(self) -> None:
        """
        A lost TLS connection is replaced without being aborted, which its transport does
        not support.
        """

        def abort() -> None:
            raise AttributeError("a transport of TLS that was lost cannot be aborted")

        self.transport.abortConnection = abort  # type: ignore[method-assign] # as TLS does
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(self.connection.end())
        self.connection.abort()

    @given(st.binary(min_size=1))
    def test_malformed_answer(self, wire: bytes) -> None:
        """A malformed answer closes the connection."""
        connection = RedisConnection(clock_at(NOW))
        connection.makeConnection(StringTransport())
        connection.ask("X").addErrback(lambda _: None)
        connection.dataReceived(wire)
        connection.connectionLost(Failure(ConnectionDone()))


class RedisCase(SynchronousTestCase):
    """A client whose server is the test."""

    def setUp(self) -> None:
        self.clock, self.endpoint = clock_at(NOW), Endpoint()
        self.redis = Redis(self.endpoint, Login(None, None, 0), self.clock)  # type: ignore[arg-type] # as much as is needed

    def ask(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.redis.ask("PING"))

    def answer(self, connection: RedisConnection, *lines: bytes) -> None:
        for line in lines:
            connection.dataReceived(line + b"\r\n")


class RedisTests(RedisCase):
    """A client that reconnects."""

    def test_connects_once(self) -> None:
        """One connection is made for all callers that wait for it, and used again."""
        waiting = [self.ask(), self.ask()]
        self.assertEqual(len(self.endpoint.asked), 1)
        connection, _ = self.endpoint.accept()
        self.answer(connection, b"+OK", b"+ONE", b"+TWO")
        self.assertEqual([self.successResultOf(each) for each in waiting], [b"ONE", b"TWO"])
        third = self.ask()
        self.answer(connection, b"+THREE")
        self.assertEqual(self.successResultOf(third), b"THREE")

    def test_refused(self) -> None:
        """If Redis is not listening, the command is an outage, and the next command tries again."""
        waiting = self.ask()
        self.endpoint.asked.pop()[1].errback(ConnectError())
        error = self.failureResultOf(waiting, Unavailable).value
        self.assertIn("cannot be reached", str(error))
        again = self.ask()
        self.answer(self.endpoint.accept()[0], b"+OK", b"+PONG")
        self.assertEqual(self.successResultOf(again), b"PONG")

    def test_server_is_named_R_FAIL(self) -> None:
        """Each reason why a server cannot be used comes with the address of the server."""
        tls_error = SSL.Error([("SSL routines", "", "tlsv13 alert certificate required")])
        for data, reason, words in (
            (b"", ConnectionDone(), "connection lost"),
            (b"220 smtp.example ESMTP\r\n", ConnectionAborted(), "bad answer: not in the Redis"),
            (b"", tls_error, "TLS failed: the server wants a client certificate"),
        ):
            self.redis = Redis(self.endpoint, Login(None, None, 0), self.clock, "Redis at a:1")  # type: ignore[arg-type] # as much as is needed
            waiting = self.ask()
            connection, _ = self.endpoint.accept()
            connection.dataReceived(data)
            connection.connectionLost(Failure(reason))
            error = self.failureResultOf(waiting, Unavailable).value
            self.assertIn(f"Redis at a:1 cannot be reached: {words}", str(error))
        waiting = self.ask()
        self.clock.advance(2.8)
        error = self.failureResultOf(waiting, TimedOut).value
        self.assertEqual(str(error), "Redis at a:1 cannot be reached: no answer within 2.8 s")

    def test_wrong_password(self) -> None:
        """A refused login is an outage, and the connection is closed."""
        login = Login("me", "canary", 3)
        self.redis = Redis(self.endpoint, login, self.clock)  # type: ignore[arg-type] # as much as is needed
        waiting = self.ask()
        connection, transport = self.endpoint.accept()
        self.assertIn(b"AUTH\r\n$2\r\nme\r\n$6\r\ncanary", transport.value())
        self.answer(connection, b"-WRONGPASS canary")
        error = self.failureResultOf(waiting, Unavailable).value
        self.assertNotIn("canary", f"{error} {login!r}")
        self.assertTrue(transport.disconnecting)

    def test_no_answer_to_the_login(self) -> None:
        """If Redis does not answer the login in time, the connection is closed."""
        waiting = self.ask()
        self.endpoint.accept()
        self.clock.advance(3)
        self.failureResultOf(waiting, TimedOut)

    def test_silent_connection(self) -> None:
        """A connection that has not answered for long is replaced."""
        first = self.ask()
        self.answer(self.endpoint.accept()[0], b"+OK")
        first.addErrback(lambda _: None)
        self.clock.advance(6)
        second = self.ask()
        self.answer(self.endpoint.accept()[0], b"+OK", b"+PONG")
        self.assertEqual(self.successResultOf(second), b"PONG")

    def test_cancelled_caller(self) -> None:
        """A caller that is cancelled does not cancel connecting for the other callers."""
        leaver, waiting = self.ask(), self.ask()
        leaver.addErrback(lambda _: None)
        leaver.cancel()
        self.answer(self.endpoint.accept()[0], b"+OK", b"+PONG")
        self.assertEqual(self.successResultOf(waiting), b"PONG")


class FailoverTests(RedisCase):
    """A server that was the right one when the client connected to it."""

    def connected(self) -> tuple[RedisConnection, StringTransport]:
        """Connect, and let the first command succeed."""
        first = self.ask()
        connection, transport = self.endpoint.accept()
        self.answer(connection, b"+OK", b"+PONG")
        self.successResultOf(first)
        return connection, transport

    def test_dials_again_R_FAIL(self) -> None:
        """
        If a server says that it cannot serve a command any more, the client connects anew and
        sends the command once more, within the same request.
        """
        codes = b"READONLY LOADING MASTERDOWN CLUSTERDOWN NOAUTH MISCONF TRYAGAIN NOMASTERLINK"
        for code in codes.split():
            connection, transport = self.connected()
            waiting = self.ask()
            self.answer(connection, b"-" + code + b" whatever the reason is")
            self.assertTrue(transport.disconnecting)
            connection, transport = self.endpoint.accept()
            self.answer(connection, b"+OK", b"+AGAIN")
            self.assertEqual(self.successResultOf(waiting), b"AGAIN")
            connection.connectionLost(Failure(ConnectionDone()))

    def test_dials_once_R_FAIL(self) -> None:
        """If the server says so again on the new connection, the request is an outage."""
        self.answer(self.connected()[0])
        waiting = self.ask()
        self.answer(self.redis._connection, b"-READONLY x")  # type: ignore[arg-type] # is connected
        self.answer(self.endpoint.accept()[0], b"+OK", b"-READONLY x")
        error = self.failureResultOf(waiting, Unavailable).value
        self.assertEqual(str(error), "Redis: read-only: the server is a replica (READONLY)")
        self.assertEqual(self.endpoint.asked, [])
        later = self.ask()
        self.answer(self.endpoint.accept()[0], b"+OK", b"+PONG")
        self.assertEqual(self.successResultOf(later), b"PONG")

    def test_kept_connection_is_lost_H_10(self) -> None:
        """
        If a kept connection is lost, a command that may be executed twice is sent once more, on a
        new connection; another command is an outage.
        """
        for repeatable in (True, False):
            connection, _ = self.connected()
            waiting = Deferred.fromCoroutine(self.redis.ask_all([("PING",)], repeatable=repeatable))
            connection.connectionLost(Failure(ConnectionDone()))
            if repeatable:
                second, _ = self.endpoint.accept()
                self.answer(second, b"+OK", b"+AGAIN")
                self.assertEqual(self.successResultOf(waiting), [b"AGAIN"])
                second.connectionLost(Failure(ConnectionDone()))
            else:
                self.failureResultOf(waiting, Unavailable)
        waiting = self.ask()
        self.endpoint.accept()[0].connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(waiting, Unavailable)
        self.assertEqual(self.endpoint.asked, [])

    def test_other_errors_stay_R_FAIL(self) -> None:
        """An error that another server would give as well is not answered by connecting anew."""
        connection, transport = self.connected()
        waiting = self.ask()
        self.answer(connection, b"-OOM command not allowed")
        self.failureResultOf(waiting, Unavailable)
        self.assertEqual((self.endpoint.asked, transport.disconnecting), ([], False))

    def test_answers_on_the_old_connection_R_FAIL(self) -> None:
        """Commands that were sent before the client connects anew still get their answers."""
        connection, transport = self.connected()
        refused, read = self.ask(), self.ask()
        self.answer(connection, b"-READONLY x")
        self.assertFalse(transport.disconnecting)
        self.answer(connection, b"+READ")
        self.assertEqual(self.successResultOf(read), b"READ")
        self.assertTrue(transport.disconnecting)
        self.answer(self.endpoint.accept()[0], b"+OK", b"+AGAIN")
        self.assertEqual(self.successResultOf(refused), b"AGAIN")

    def test_one_attempt_for_all_R_FAIL(self) -> None:
        """All requests that the server refused share one new connection."""
        connection, _ = self.connected()
        refused = [self.ask() for _ in range(3)]
        self.answer(connection, *[b"-READONLY x"] * 3)
        [_] = self.endpoint.asked
        self.answer(self.endpoint.accept()[0], b"+OK", *[b"+AGAIN"] * 3)
        self.assertEqual([self.successResultOf(each) for each in refused], [b"AGAIN"] * 3)

    def test_inside_a_script_R_FAIL(self) -> None:
        """Redis before version 7 hides the code of an error inside a script; it counts as well."""
        connection, _ = self.connected()
        waiting = self.ask()
        text = b"-ERR Error running script (call to f_1): @user_script:3: @user_script: 3: "
        self.answer(connection, text + b"-READONLY You can't write against a read only replica.")
        self.answer(self.endpoint.accept()[0], b"+OK", b"+AGAIN")
        self.assertEqual(self.successResultOf(waiting), b"AGAIN")

    def test_stopped_with_old_connections_R_FAIL(self) -> None:
        """Stopping closes connections that still wait for answers, too."""
        connection, transport = self.connected()
        refused, read = self.ask(), self.ask()
        self.answer(connection, b"-READONLY x")
        stopped = Deferred.fromCoroutine(self.redis.stop())
        self.assertTrue(transport.disconnecting)
        connection.connectionLost(Failure(ConnectionDone()))
        for each in (refused, read):
            each.addErrback(lambda _: None)
        self.successResultOf(stopped)

    def test_needs_a_primary_R_FAIL(self) -> None:
        """If Sentinel named a server that is no primary any more, the client does not use it."""
        self.redis = Redis(self.endpoint, Login(wants_primary=True), self.clock)  # type: ignore[arg-type] # as much as is needed
        waiting = self.ask()
        self.answer(self.endpoint.accept()[0], b"+OK", b"*1", b"$5", b"slave")
        error = self.failureResultOf(waiting, Unavailable).value
        self.assertIn("not a primary", str(error))


class CauseTests(SynchronousTestCase):
    """What error answers mean."""

    def said(self, answer: bytes, *words: Any) -> str:
        connection = RedisConnection(clock_at(NOW))
        connection.makeConnection(StringTransport())
        waiting = connection.ask(*words)
        connection.dataReceived(answer + b"\r\n")
        error = self.failureResultOf(waiting, ErrorAnswer).value
        return describe(error)

    def test_no_permission_R_LOGIN(self) -> None:
        """If the user may not run a command, the message names the command, not what was sent."""
        hset = b"-NOPERM this user has no permissions to run the 'hset' command"
        keys = b"-NOPERM this user has no permissions to access one of the keys used as arguments"
        line = b"-ERR The user executing the script can't run this command or subcommand script: "
        script = "\nlocal a = redis.call('HMGET', KEYS[1])\nreturn 1"
        for answer, words, named in (
            (hset, ("EVAL", "canary"), "HSET"),
            (keys, ("HGET", "canary"), "HGET"),
            (line + b"f00, on @user_script:2.", ("EVAL", script, 0, "canary"), "HMGET"),
            (line + b"f00, on @user_script:9.", ("EVAL", script, 0, "canary"), "EVAL"),
        ):
            said = self.said(answer, *words)
            self.assertIn(f"not allowed: the user may not run {named} ", said)
            self.assertNotIn("canary", said)

    def test_causes_R_FAIL(self) -> None:
        """Each usual error is described in words, with its code."""
        for answer, words in (
            (b"-LOADING Redis is loading the dataset in memory", "is loading its data"),
            (b"-NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write"),
            (b"-MISCONF Redis is configured to save RDB snapshots", "cannot write to its disk"),
            (b"-OOM command not allowed", "maxmemory"),
            (b"-NOAUTH Authentication required.", "store.password"),
            (b"-MOVED 1 127.0.0.1:1", "is a Redis Cluster, which is not supported"),
            (b"-ODD canary", "bad answer: an error for PING (ODD)"),
        ):
            said = self.said(answer, "PING")
            self.assertIn(words, said)
            self.assertNotIn("canary", said)
