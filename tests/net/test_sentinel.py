"""The primary that Redis Sentinel names."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import Unavailable
from authotron.net.redis import Login, Redis
from authotron.net.sentinel import SentinelEndpoint
from authotron.testing.worlds import NOW, clock_at
from tests.net.test_redis import Endpoint


class SentinelTests(SynchronousTestCase):
    """A client that asks Sentinels before it connects."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.endpoints: dict[tuple[str, int], Endpoint] = {}
        addresses = [("one", 1), ("two", 2)]
        login = Login("me", "canary", None)
        endpoint = SentinelEndpoint(self.connect, addresses, "mine", login, self.clock)
        self.redis = Redis(endpoint, Login(wants_primary=True), self.clock)

    def connect(self, host: str, port: int, /) -> Any:
        return self.endpoints.setdefault((host, port), Endpoint())

    def ask(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.redis.ask("PING"))

    def names(self, sentinel: tuple[str, int], answer: bytes) -> bytes:
        """Let a Sentinel accept the login, and answer; return what it was asked."""
        connection, transport = self.endpoints[sentinel].accept()
        connection.dataReceived(b"+OK\r\n" + answer)
        self.assertTrue(transport.disconnecting)
        written: bytes = transport.value()
        return written

    def serves(self, server: tuple[str, int]) -> None:
        connection, _ = self.endpoints[server].accept()
        connection.dataReceived(b"+OK\r\n*1\r\n$6\r\nmaster\r\n+PONG\r\n")

    def test_primary_R_LOGIN(self) -> None:
        """The client logs in to a Sentinel, and connects to the server that it names."""
        waiting = self.ask()
        asked = self.names(("one", 1), b"*2\r\n$2\r\nr1\r\n$4\r\n6379\r\n")
        self.assertIn(b"AUTH\r\n$2\r\nme\r\n$6\r\ncanary", asked)
        self.assertIn(b"SENTINEL\r\n$23\r\nget-master-addr-by-name\r\n$4\r\nmine", asked)
        self.serves(("r1", 6379))
        self.assertEqual(self.successResultOf(waiting), b"PONG")

    def test_next_sentinel_R_LOGIN(self) -> None:
        """A Sentinel that refuses or does not answer is followed by the next; that is kept."""
        waiting = self.ask()
        self.endpoints["one", 1].asked.pop()[1].errback(Refused())
        self.names(("two", 2), b"*2\r\n$2\r\nr1\r\n$1\r\n7\r\n")
        self.serves(("r1", 7))
        self.successResultOf(waiting)
        self.redis._connection.connectionLost()  # type: ignore[union-attr] # is connected
        again = self.ask()
        self.names(("two", 2), b"*2\r\n$2\r\nr2\r\n$1\r\n7\r\n")
        self.serves(("r2", 7))
        self.successResultOf(again)

    def test_silent_sentinel_R_LOGIN(self) -> None:
        """A Sentinel that does not answer in time is followed by the next."""
        waiting = self.ask()
        self.endpoints["one", 1].accept()
        self.clock.advance(1)
        self.names(("two", 2), b"*2\r\n$2\r\nr1\r\n$1\r\n7\r\n")
        self.serves(("r1", 7))
        self.successResultOf(waiting)

    def test_no_sentinel_R_LOGIN(self) -> None:
        """If no Sentinel names a primary, the request is an outage, with the reason of each."""
        waiting = self.ask()
        self.endpoints["one", 1].asked.pop()[1].errback(Refused())
        self.names(("two", 2), b"*-1\r\n")
        said = str(self.failureResultOf(waiting, Unavailable).value)
        self.assertIn("one:1: connection refused", said)
        self.assertIn("two:2: Sentinel does not know this service", said)
