"""A connection to the proxy is bounded in time and bytes."""

from __future__ import annotations

from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.probe.connection import LARGEST, Connector, Received, Unreachable

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"


class ConnectionTests(SynchronousTestCase):
    """One exchange."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.transport = StringTransport()

    def start(self, address: str = "127.0.0.1", *, lingers: bool = False) -> Deferred[Received]:
        connector = Connector(self.reactor, address, 80, "localhost")
        return Deferred.fromCoroutine(connector.exchange(b"GET", b"GET", lingers=lingers))

    def connected(self) -> Any:
        """Let the connection be opened."""
        factory = self.reactor.tcpClients[0][2]
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(self.transport)
        return protocol

    def test_answer_ends_it(self) -> None:
        """The bytes are sent, and a complete answer ends the connection."""
        result = self.start()
        protocol = self.connected()
        self.assertEqual(self.transport.value(), b"GET")
        protocol.dataReceived(ANSWER[:20])
        self.assertNoResult(result)
        protocol.dataReceived(ANSWER[20:])
        self.assertEqual(self.successResultOf(result), Received(ANSWER, ended=False))
        self.assertTrue(self.transport.disconnected)

    def test_second_answer(self) -> None:
        """Where two answers may come, the connection lasts a moment longer, unless it is closed."""
        result = self.start(lingers=True)
        protocol = self.connected()
        protocol.dataReceived(ANSWER)
        protocol.dataReceived(ANSWER)
        self.reactor.advance(1)
        self.assertEqual(self.successResultOf(result).data, ANSWER * 2)

    def test_last_answer(self) -> None:
        """An answer that says so is the last."""
        result = self.start(lingers=True)
        last = ANSWER.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        self.connected().dataReceived(last)
        self.assertEqual(self.successResultOf(result).data, last)

    def test_time(self) -> None:
        """A proxy that does not answer in time ends the exchange, with what has come."""
        result = self.start()
        self.connected().dataReceived(b"HTTP/1.1 20")
        self.reactor.advance(11)
        self.assertEqual(self.successResultOf(result), Received(b"HTTP/1.1 20", ended=False))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_bytes(self) -> None:
        """An endless answer ends the exchange."""
        result = self.start()
        self.connected().dataReceived(b"x" * (LARGEST + 5))
        self.assertEqual(len(self.successResultOf(result).data), LARGEST)

    def test_end(self) -> None:
        """If the proxy closes the connection, the exchange ends."""
        result = self.start()
        self.connected().connectionLost(Failure(error.ConnectionDone()))
        self.assertEqual(self.successResultOf(result), Received(b"", ended=True))

    def test_refused(self) -> None:
        """A connection that cannot be opened says why."""
        result = self.start("::1")
        factory = self.reactor.tcpClients[0][2]
        factory.clientConnectionFailed(None, Failure(error.ConnectionRefusedError()))
        self.assertIn("refused", str(self.failureResultOf(result, Unreachable).value))

    def test_cancelled(self) -> None:
        """An exchange that is cancelled closes its connection."""
        result = self.start()
        self.connected()
        result.cancel()
        self.failureResultOf(result)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
