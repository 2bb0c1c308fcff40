"""Ports on uvloop: inherited sockets, sockets of several processes, TLS, and wrapped endpoints."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory

from authotron.daemon import systemd
from authotron.daemon.uvloop import port as port_module
from authotron.daemon.uvloop.port import LoopPort, accept_by_loop
from authotron.daemon.workers.accept_gate import AcceptGate
from authotron.daemon.workers.connection_counts import OwnCount
from authotron.daemon.workers.sockets import SharedEndpoint
from tests.process.transports import OnUvloop, Recorders


class LoopPortTests(OnUvloop):
    """What becomes of the ports that Twisted opens."""

    def setUp(self) -> None:
        super().setUp()
        self.factory = Recorders()

    def opened(self, endpoint: Any, factory: Any) -> Any:
        return self.result(endpoint.listen(factory).addCallback(self.accept))

    def inherited(self, family: socket.AddressFamily) -> socket.socket:
        """Return a listening socket, as systemd or a supervisor passes it."""
        listening = socket.socket(family)
        self.addCleanup(listening.close)
        is_unix = family == socket.AF_UNIX
        listening.bind(f"{self._folder}/inherited" if is_unix else ("127.0.0.1", 0))
        listening.listen(50)
        return listening

    def test_inherited_socket_stays_open(self) -> None:
        """A process that stops to listen leaves an inherited socket to the other processes."""
        for family in (socket.AF_INET, socket.AF_UNIX):
            listening = self.inherited(family)
            inherited = systemd.Endpoint(self.reactor, listening.fileno())
            first, second = (
                self.result(
                    SharedEndpoint(self.reactor, inherited, self.gate()).listen(self.factory)
                )
                for _ in range(2)
            )
            self.stop(first)
            with socket.socket(family) as client:
                client.connect(listening.getsockname())
                self.until(self.factory.made.copy, "accepted")
            self.stop(second)
            self.factory.made.clear()
            if family == socket.AF_UNIX:
                self.assertTrue(os.path.exists(listening.getsockname()))  # noqa: PTH110 - a text

    def gate(self) -> AcceptGate:
        own = OwnCount(memoryview(bytearray(4)).cast("i"), 0)
        return AcceptGate(own, self.reactor, self.reactor)

    def test_pause(self) -> None:
        """A paused port leaves connections to other processes, and accepts them afterwards."""
        for family in (socket.AF_INET, socket.AF_UNIX):
            listening = self.inherited(family)
            port = self.opened(systemd.Endpoint(self.reactor, listening.fileno()), self.factory)
            for _ in range(2):
                port.stopReading()
                with socket.socket(family) as client:
                    client.connect(listening.getsockname())
                    turns: list[None] = []
                    for turn in range(3):
                        self.reactor.callLater(turn / 1000, turns.append, None)
                    self.until(lambda: len(turns) == 3, "some turns")  # noqa: B023 - used at once
                    self.assertEqual(self.factory.made, [])
                    port.startReading()
                    self.until(self.factory.made.copy, "accepted")
                self.factory.made.clear()
            self.stop(port)

    def test_hidden_epoll(self) -> None:
        """With a version of uvloop whose epoll object is hidden, a paused port accepts."""
        self.patch(port_module, "_epoll_of", lambda _loop: None)
        listening = self.inherited(socket.AF_INET)
        port = self.opened(systemd.Endpoint(self.reactor, listening.fileno()), self.factory)
        port.stopReading()
        with socket.socket(socket.AF_INET) as client:
            client.connect(listening.getsockname())
            self.until(self.factory.made.copy, "accepted")
        self.stop(port)

    def test_tls_stays_with_twisted(self) -> None:
        """A port for TLS is read and written by Twisted."""
        factory = TLSMemoryBIOFactory(CertificateOptions(), False, self.factory)
        opened = serverFromString(self.reactor, "tcp:0:interface=127.0.0.1").listen(factory)
        port = self.result(opened)
        self.assertIs(accept_by_loop(self.reactor, port), port)
        self.stop(port)

    def test_wrapped_endpoint(self) -> None:
        """Behind HAProxy the address of a client comes from the line of the PROXY protocol."""
        port = self.opened(
            serverFromString(self.reactor, "haproxy:tcp:0:interface=127.0.0.1"), self.factory
        )
        self.assertIsInstance(port, LoopPort)
        client = self.connect(port)
        self.send(client, b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nhello")
        self.until(lambda: self.factory.made and self.factory.made[0].received, "received")
        [server] = self.factory.made
        self.assertEqual(server.received, b"hello")
        self.assertEqual(server.transport.getPeer().host, "192.0.2.7")
        client.close()
        self.until(lambda: server.ended, "ended")
        self.stop(port)

    def test_socket_of_its_own_is_removed(self) -> None:
        """The file of a UNIX socket is removed when the gateway stops to listen at it."""
        path = f"{self._folder}/own"
        port = self.opened(serverFromString(self.reactor, f"unix:{path}:mode=600"), Factory())
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)  # noqa: PTH116 - a text
        self.stop(port)
        self.assertFalse(os.path.exists(path))  # noqa: PTH110 - a text
