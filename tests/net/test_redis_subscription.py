"""A subscription to a channel of Redis."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.net.redis import Login
from authotron.net.redis_subscription import Subscription
from authotron.testing.worlds import NOW, clock_at
from tests.net.test_redis import Endpoint

SUBSCRIBED = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"
PONG = b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"


class SubscriptionTests(SynchronousTestCase):
    """A subscription whose server is the test."""

    def setUp(self) -> None:
        self.clock, self.endpoint = clock_at(NOW), Endpoint()
        login = Login(None, None, 0)
        endpoint: Any = self.endpoint
        subscription = Subscription(endpoint, login, self.clock, "c", "Redis at h:1")
        self.calls = 0
        self.following = Deferred.fromCoroutine(subscription.follow(self.count))

    def count(self) -> None:
        self.calls += 1

    def subscribed(self) -> tuple[Any, StringTransport]:
        """Accept a connection, and the subscription on it."""
        connection, transport = self.endpoint.accept()
        connection.dataReceived(b"+OK\r\n")
        self.assertIn(b"SUBSCRIBE\r\n$1\r\nc\r\n", transport.value())
        connection.dataReceived(SUBSCRIBED)
        transport.clear()
        return connection, transport

    def test_messages_R_FEED(self) -> None:
        """Each message is reported, in pieces of any size; so is the subscription itself."""
        for size in (1, 5, 1000):
            connection, _ = self.subscribed()
            self.assertEqual(self.calls, 1)
            wire = MESSAGE * 3
            for start in range(0, len(wire), size):
                connection.dataReceived(wire[start : start + size])
            self.assertEqual(self.calls, 4)
            self.calls = 0
            connection.connectionLost(Failure(ConnectionDone()))
            self.clock.advance(0.25)

    def test_lost_connection_R_FEED(self) -> None:
        """After a lost connection the client subscribes again within 0.25 s, and reports that."""
        with capturedLogs() as events:
            for _ in range(3):
                connection, _ = self.subscribed()
                connection.connectionLost(Failure(ConnectionDone()))
                self.clock.advance(0.25)
        self.assertEqual(self.calls, 3)
        levels = [each["log_level"] for each in events]
        warn, info = LogLevel.warn, LogLevel.info
        self.assertEqual(levels, [warn, info, warn, info, warn])

    def test_silent_end_R_FEED(self) -> None:
        """A connection that answers no ping within a second is closed, and replaced."""
        connection, transport = self.subscribed()
        for _ in range(3):
            self.clock.advance(1.0)
            self.assertEqual(transport.value(), b"*1\r\n$4\r\nPING\r\n")
            transport.clear()
            connection.dataReceived(PONG + MESSAGE)
        self.assertEqual(self.calls, 4)
        self.clock.advance(1.0)
        self.clock.advance(1.0)
        self.assertTrue(transport.disconnecting or transport.disconnected)
        self.clock.advance(0.25)
        self.subscribed()
        self.assertEqual(self.calls, 5)

    def test_unreachable_server_R_FEED(self) -> None:
        """While the server cannot be reached, the client tries again, and logs that once."""
        with capturedLogs() as events:
            for _ in range(10):
                _, connecting = self.endpoint.asked.pop(0)
                connecting.errback(Refused())
                self.clock.advance(0.25)
            self.endpoint.asked[0][1].addErrback(lambda _: None)
            self.clock.advance(2.8)
            self.clock.advance(0.25)
            self.endpoint.asked.pop(0)
            self.subscribed()
        self.assertEqual([each["log_level"] for each in events], [LogLevel.warn, LogLevel.info])
        self.assertIn("Redis at h:1", str(events[0]["redis"]))
        self.assertIn("connection refused", events[0]["reason"])

    def test_refused_subscription_R_FEED(self) -> None:
        """If the user may not subscribe, the log names the command."""
        with capturedLogs() as events:
            connection, _ = self.endpoint.accept()
            connection.dataReceived(b"+OK\r\n-NOPERM no 'subscribe' command\r\n")
        self.assertIn("SUBSCRIBE", events[0]["reason"])
        self.clock.advance(0.25)
        self.subscribed()

    def test_nonsense_R_FEED(self) -> None:
        """An answer to no command closes the connection."""
        connection, transport = self.subscribed()
        connection.dataReceived(b":1\r\n" + MESSAGE)
        self.assertTrue(transport.disconnecting or transport.disconnected)
        self.assertEqual(self.calls, 1)

    def test_end_R_FEED(self) -> None:
        """A cancelled subscription closes its connection, and does not connect again."""
        _, transport = self.subscribed()
        self.following.cancel()
        self.failureResultOf(self.following, CancelledError)
        self.assertTrue(transport.disconnecting or transport.disconnected)
        self.clock.advance(60)
        self.assertEqual((self.endpoint.asked, self.clock.getDelayedCalls()), ([], []))
