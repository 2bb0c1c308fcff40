"""What a transport of Twisted promises to the protocols of the gateway, over real sockets."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from zope.interface.verify import verifyObject

from tests.process.transports import Recorder, Recorders, TransportCase

LARGE = b"0123456789abcdef" * (1 << 19)
"""Bytes that do not fit into the buffers of the kernel: 8 MiB."""


class Producer:
    """Writes pieces while the transport wants more."""

    def __init__(self, transport: Any, most: int = 0) -> None:
        self._transport = transport
        self.left = most
        self.is_paused = False
        self.calls: list[str] = []

    def produce(self) -> None:
        piece = LARGE[:65_536]
        while self.left > 0 and not self.is_paused:
            self.left -= len(piece)
            self._transport.write(piece)
        if self.left <= 0 and not self.is_paused:
            self._transport.unregisterProducer()
            self._transport.loseConnection()

    def pauseProducing(self) -> None:
        self.calls.append("pause")
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        self.is_paused = False
        self.produce()

    def stopProducing(self) -> None:
        self.calls.append("stop")


def defect(*_: Any, **__: Any) -> Any:
    """Fail, as a function with a defect does."""
    return 1 / 0


class TransportContract(TransportCase):
    """
    The tests of a transport.

    A class of tests for one transport inherits from this class, and overrides the methods that
    build the reactor and the port.
    """

    def setUp(self) -> None:
        super().setUp()
        self.factory = Recorders()
        self.port = self.listen(self.factory)

    def pair(self) -> tuple[socket.socket, Recorder]:
        """Return a client, and the protocol at the other end of its connection."""
        before = len(self.factory.made)
        client = self.connect(self.port)
        self.until(lambda: len(self.factory.made) > before, "accepted")
        server = self.factory.made[-1]
        self.until(lambda: server.transport, "connected")
        return client, server

    def reason(self, server: Recorder) -> BaseException:
        """Return why a connection has ended, which a protocol learns exactly once."""
        self.until(lambda: server.ended, "ended")
        self.turns()
        [reason] = server.ended
        assert reason.value is not None
        return reason.value

    # --- what a transport is ---

    def test_interfaces(self) -> None:
        """A transport has all methods of the interfaces that protocols look for."""
        _, server = self.pair()
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(interface, server.transport)

    def test_addresses(self) -> None:
        """Both ends of a connection have addresses; a client at a UNIX socket has no host."""
        client, server = self.pair()
        peer, host = server.transport.getPeer(), server.transport.getHost()
        if self.family == socket.AF_UNIX:
            self.assertEqual(peer, UNIXAddress(None))
            self.assertEqual(host, UNIXAddress(client.getpeername()))
            self.assertFalse(hasattr(server.address, "host"))
            return
        kind = IPv4Address if self.family == socket.AF_INET else IPv6Address
        self.assertEqual(peer, kind("TCP", *client.getsockname()))
        self.assertEqual(host, kind("TCP", *client.getpeername()))
        self.assertEqual(server.address, peer)

    def test_options(self) -> None:
        """Replies are sent without delay on TCP, and a connection can have keep-alive probes."""
        _, server = self.pair()
        server.transport.setTcpNoDelay(True)
        self.assertEqual(server.transport.getTcpNoDelay(), self.family != socket.AF_UNIX)
        for enabled in (True, False):
            server.transport.setTcpKeepAlive(enabled)
            self.assertEqual(server.transport.getTcpKeepAlive(), enabled)

    # --- bytes ---

    def test_bytes_both_ways(self) -> None:
        """Bytes arrive in the order in which they were written."""
        client, server = self.pair()
        self.send(client, b"hello")
        self.until(lambda: server.received == b"hello", "received")
        server.transport.write(b"a")
        server.transport.write(b"")
        server.transport.writeSequence([b"b", b"", b"c"])
        server.transport.writeSequence([])
        self.assertEqual(self.receive(client, 3), b"abc")

    def test_large(self) -> None:
        """Bytes that the kernel does not accept at once are sent as the client reads."""
        client, server = self.pair()
        server.transport.write(LARGE)
        server.transport.write(b"end")
        self.assertEqual(self.receive(client, len(LARGE) + 3), LARGE + b"end")

    def test_text_is_refused(self) -> None:
        """Text cannot be written, as its encoding is unknown."""
        _, server = self.pair()
        self.assertRaises(TypeError, server.transport.write, "text")

    # --- the gateway closes ---

    def test_close_sends_all(self) -> None:
        """A connection that the gateway closes ends after all bytes were sent."""
        client, server = self.pair()
        server.transport.write(LARGE)
        server.transport.loseConnection()
        self.assertTrue(server.transport.disconnecting)
        server.transport.loseConnection()
        self.assertEqual(self.receive_all(client), LARGE)
        self.assertIsInstance(self.reason(server), ConnectionDone)

    def test_close_reads_no_more(self) -> None:
        """Bytes that arrive after the gateway has closed a connection are not reported."""
        client, server = self.pair()
        server.transport.write(LARGE)
        server.transport.loseConnection()
        with suppress(BlockingIOError):
            client.send(b"late")
        self.turns()
        self.assertEqual(server.received, b"")

    def test_writes_after_the_end_are_ignored(self) -> None:
        """Whatever a protocol calls after the end of its connection does nothing."""
        for end in ("loseConnection", "abortConnection"):
            client, server = self.pair()
            getattr(server.transport, end)()
            server.transport.writeSequence([])
            self.reason(server)
            for data in (b"late", LARGE):
                server.transport.write(data)
                server.transport.writeSequence([data])
            server.transport.loseConnection()
            server.transport.abortConnection()
            server.transport.pauseProducing()
            server.transport.resumeProducing()
            server.transport.unregisterProducer()
            self.turns()
            self.assertEqual(len(server.ended), 1)
            with suppress(ConnectionResetError):
                self.assertEqual(self.receive_all(client), b"")

    def test_abort(self) -> None:
        """An aborted connection ends at once; the client gets a reset, and not the rest."""
        client, server = self.pair()
        server.transport.write(LARGE)
        server.transport.abortConnection()
        server.transport.abortConnection()
        self.assertEqual(server.ended, [])
        self.assertIsInstance(self.reason(server), ConnectionAborted)
        if self.family == socket.AF_UNIX:
            self.assertLess(len(self.receive_all(client)), len(LARGE))
        else:
            self.assertRaises(ConnectionResetError, self.receive_all, client)

    def test_abort_after_close(self) -> None:
        """A connection whose client does not read can be aborted after it was closed."""
        _, server = self.pair()
        server.transport.write(LARGE)
        server.transport.loseConnection()
        self.turns()
        self.assertEqual(server.ended, [])
        server.transport.abortConnection()
        self.assertIsInstance(self.reason(server), ConnectionAborted)

    def test_half_close(self) -> None:
        """After the gateway has closed its sending direction, it still receives."""
        client, server = self.pair()
        server.transport.write(LARGE)
        server.transport.loseWriteConnection()
        self.assertEqual(self.receive_all(client), LARGE)
        server.transport.write(b"late")
        self.send(client, b"more")
        self.until(lambda: server.received == b"more", "received")
        self.assertEqual(server.ended, [])
        client.close()
        self.assertIsInstance(self.reason(server), ConnectionDone)

    def test_close_after_half_close(self) -> None:
        """A connection of which one direction is closed can be closed, or aborted."""
        for end, reason in (
            ("loseConnection", ConnectionDone),
            ("abortConnection", ConnectionAborted),
        ):
            client, server = self.pair()
            server.transport.loseWriteConnection()
            self.assertEqual(self.receive_all(client), b"")
            getattr(server.transport, end)()
            self.assertIsInstance(self.reason(server), reason)

    # --- the client closes ---

    def test_client_closes(self) -> None:
        """When the client closes its connection, or its sending direction, the connection ends."""
        client, server = self.pair()
        client.close()
        self.assertIsInstance(self.reason(server), ConnectionDone)
        client, server = self.pair()
        client.shutdown(socket.SHUT_WR)
        self.assertIsInstance(self.reason(server), ConnectionDone)

    def test_last_bytes_of_a_client(self) -> None:
        """Bytes that a client has sent before it closes are received, and can be answered."""
        client, server = self.pair()
        server.on_data = server.transport.write
        client.send(b"last")
        client.shutdown(socket.SHUT_WR)
        self.assertIsInstance(self.reason(server), ConnectionDone)
        self.assertEqual(server.received, b"last")

    def test_client_resets(self) -> None:
        """A reset is told apart from an end, whether the gateway reads or writes."""
        for data in (b"", LARGE):
            client, server = self.pair()
            if self.family == socket.AF_UNIX:
                server.transport.write(b"unread")  # makes close(2) a reset
                self.turns()
                client.close()
            else:
                self.reset(client)
            server.transport.write(data)
            self.assertIsInstance(self.reason(server), ConnectionLost)

    def test_client_closes_while_bytes_wait(self) -> None:
        """A client that closes while bytes wait for it ends the connection at once."""
        client, server = self.pair()
        server.transport.write(LARGE)
        client.shutdown(socket.SHUT_WR)
        self.assertIsInstance(self.reason(server), ConnectionDone)

    def test_reset_before_accepted(self) -> None:
        """A connection of TCP never has the address of a client at a UNIX socket."""
        if self.family == socket.AF_UNIX:
            return
        for _ in range(3):
            client = self.connect(self.port)
            client.send(b"forged")
            self.reset(client)
            self.pair()
            self.turns()
        self.assertTrue(all(hasattr(each.address, "host") for each in self.factory.made))

    # --- reading is paused ---

    def test_pause(self) -> None:
        """While reading is paused, bytes stay in the kernel; later all are received in order."""
        client, server = self.pair()
        server.transport.pauseProducing()
        server.transport.pauseProducing()
        client.send(b"later")
        self.turns()
        self.assertEqual(server.received, b"")
        server.transport.resumeProducing()
        server.transport.resumeProducing()
        self.until(lambda: server.received == b"later", "received")

    def test_pause_while_receiving(self) -> None:
        """A protocol that pauses while it receives gets no further bytes."""
        client, server = self.pair()
        server.on_data = lambda _: server.transport.pauseProducing()
        self.send(client, b"first")
        self.until(lambda: server.received == b"first", "received")
        client.send(b"second")
        self.turns()
        self.assertEqual(server.received, b"first")

    def test_paused_client_is_bounded(self) -> None:
        """A client that sends while reading is paused cannot send without limit."""
        client, server = self.pair()
        server.transport.pauseProducing()
        sent = 0
        with suppress(BlockingIOError):
            while True:
                sent += client.send(LARGE)
                self.turn()
        self.assertEqual(server.received, b"")

    # --- writing is paused ---

    def test_unread_bytes_pause_the_producer(self) -> None:
        """Of 64 MiB that a client does not read, only a small part is produced."""
        client, server = self.pair()
        total = 64 << 20
        producer = Producer(server.transport, total)
        server.transport.registerProducer(producer, True)
        producer.produce()
        self.turns(20)
        self.assertTrue(producer.is_paused)
        self.assertLess(total - producer.left, 32 << 20)
        self.assertEqual(len(self.receive_all(client)), total)
        self.assertIsInstance(self.reason(server), ConnectionDone)
        self.assertNotIn("stop", producer.calls)

    def test_second_producer(self) -> None:
        """A connection has one producer at a time."""
        _, server = self.pair()
        server.transport.registerProducer(Producer(server.transport), True)
        second = Producer(server.transport)
        self.assertRaises(RuntimeError, server.transport.registerProducer, second, True)
        server.transport.unregisterProducer()
        server.transport.registerProducer(second, True)
        server.transport.unregisterProducer()

    def test_producer_of_a_full_connection(self) -> None:
        """A producer that begins when many bytes wait is paused, and resumed when they are sent."""
        client, server = self.pair()
        first = Producer(server.transport)
        server.transport.registerProducer(first, True)
        server.transport.write(LARGE)
        server.transport.unregisterProducer()
        second = Producer(server.transport)
        second.left = 1
        server.transport.registerProducer(second, True)
        server.transport.write(b"more")
        self.assertTrue(second.is_paused)
        self.receive(client, len(LARGE) + 4)
        self.until(lambda: not second.is_paused, "resumed")

    def test_producer_is_stopped(self) -> None:
        """When a connection ends, its producer is stopped, also one that begins later."""
        client, server = self.pair()
        producer = Producer(server.transport)
        server.transport.registerProducer(producer, True)
        client.close()
        self.reason(server)
        self.assertEqual(producer.calls, ["stop"])
        late = Producer(server.transport)
        server.transport.registerProducer(late, True)
        self.assertEqual(late.calls, ["stop"])

    # --- defects of a protocol ---

    def test_defect(self) -> None:
        """A protocol with a defect loses its connection, and others keep theirs."""
        client, server = self.pair()
        other, healthy = self.pair()
        server.on_data = defect
        self.send(client, b"x")
        self.assertIsInstance(self.reason(server), ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.receive_all(client), b"")
        self.send(other, b"y")
        self.until(lambda: healthy.received == b"y", "received")

    def test_defect_at_the_end(self) -> None:
        """A protocol that fails when its connection ends harms no other connection."""
        client, server = self.pair()
        other, healthy = self.pair()
        server.connectionLost = defect  # type: ignore[method-assign] # for this test
        client.close()
        self.until(lambda: self.flushLoggedErrors(ZeroDivisionError), "logged")
        self.send(other, b"y")
        self.until(lambda: healthy.received == b"y", "received")

    def test_defect_of_the_factory(self) -> None:
        """If the factory fails for a connection, the next connection is served."""
        build = self.factory.buildProtocol
        self.factory.buildProtocol = defect  # type: ignore[method-assign] # for this test
        client = self.connect(self.port)
        self.until(lambda: self.flushLoggedErrors(ZeroDivisionError), "logged")
        self.factory.buildProtocol = build  # type: ignore[method-assign] # as it was
        self.pair()
        client.close()

    def test_refused_by_the_factory(self) -> None:
        """A connection that the factory refuses is closed."""
        self.factory.refuses = True
        client = self.connect(self.port)
        with suppress(ConnectionResetError):
            self.assertEqual(self.receive_all(client), b"")

    # --- the port ---

    def test_port_closes(self) -> None:
        """A port that is closed accepts no more, and open connections stay."""
        client, server = self.pair()
        address = self.port.getHost()
        self.stop(self.port)
        late = socket.socket(self.family)
        self.addCleanup(late.close)
        where = address.name if self.family == socket.AF_UNIX else (address.host, address.port)
        self.assertRaises(OSError, late.connect, where)
        self.send(client, b"x")
        self.until(lambda: server.received == b"x", "received")
        self.assertEqual(self.factory.numPorts, 0)
        self.port = self.listen(self.factory)

    def test_port_reports_accepted_connections(self) -> None:
        """When a port is closed, the factory knows all connections that were accepted."""
        clients = [self.connect(self.port) for _ in range(5)]
        self.until(lambda: self.factory.made, "accepted")
        self.stop(self.port)
        made = len(self.factory.made)
        self.turns()
        self.assertEqual(len(self.factory.made), made)
        self.assertGreaterEqual(len(clients), made)
        self.port = self.listen(self.factory)
