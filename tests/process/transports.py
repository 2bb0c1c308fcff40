"""Reactors that a test runs turn by turn, and the two ends of connections over real sockets."""

from __future__ import annotations

import gc
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from struct import pack
from tempfile import mkdtemp
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.daemon.uvloop.clock import LoopClock
from authotron.daemon.uvloop.port import accept_by_loop
from authotron.daemon.uvloop.reactor import UvloopReactor, load
from tests.process.test_event_loop import need_uvloop
from tests.waiting import DEADLINE


class Recorder(Protocol):
    """
    A protocol that records what its transport reports.

    @ivar ended: the reasons of C{connectionLost}, of which there must be one at most.
    @ivar on_data: called with all bytes that arrive.
    """

    transport: Any

    def __init__(self, address: Any) -> None:
        self.address = address
        self.received = b""
        self.ended: list[Failure] = []
        self.on_data: Callable[[bytes], object] = bytes

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.on_data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.append(reason)


class Recorders(Factory):
    """
    Makes recorders, and keeps them.

    @ivar refuses: whether it makes none, so that connections are closed.
    """

    noisy = False
    refuses = False

    def __init__(self) -> None:
        self.made: list[Recorder] = []

    def buildProtocol(self, addr: Any) -> Recorder | None:
        if self.refuses:
            return None
        self.made.append(Recorder(addr))
        return self.made[-1]


class TransportCase(SynchronousTestCase):
    """
    A test of connections at a port, over real sockets, in which the reactor runs turn by turn.

    @ivar family: the family of addresses of the port.
    """

    family: socket.AddressFamily = socket.AF_INET

    def setUp(self) -> None:
        self.reactor: Any = self.build_reactor()
        self.addCleanup(self._close_reactor)
        self._folder = mkdtemp()  # the path of a UNIX socket must be short
        self.addCleanup(shutil.rmtree, self._folder)
        self._numbers = count()
        self.clock: Any = self.reactor

    def build_reactor(self) -> Any:
        """Build the reactor that the test runs."""
        return EPollReactor()

    def accept(self, port: Any) -> Any:
        """Let a port that has been opened accept connections, and return it."""
        return port

    def _close_reactor(self) -> None:
        for each in self.reactor.getDelayedCalls():
            each.cancel()
        for each in [*self.reactor.getReaders(), *self.reactor.getWriters()]:
            with suppress(Exception):
                each.connectionLost(connectionDone)

    # --- running ---

    def turn(self, seconds: float = 0.0) -> None:
        """Run one turn of the reactor, which waits for an event for a number of seconds at most."""
        self.reactor.iterate(seconds)

    def turns(self, count: int = 6) -> None:
        """Run several turns, after which all that has arrived before was reported."""
        for _ in range(count):
            self.turn()

    def until(self, look: Callable[[], Any], what: str) -> Any:
        """Run the reactor until a value is true, and return the value."""
        began = time.monotonic()
        while not (seen := look()):
            if time.monotonic() - began > DEADLINE:
                self.fail(f"not {what} within {DEADLINE:.0f} s")
            self.turn(0.001)
        return seen

    def result(self, waited: Deferred[Any]) -> Any:
        """Run the reactor until a Deferred has fired, and return its result."""
        results: list[Any] = []
        waited.addBoth(results.append)
        found = self.until(lambda: results, "fired")[0]
        if isinstance(found, Failure):
            found.raiseException()
        return found

    # --- the two ends ---

    def listen(self, factory: Any) -> Any:
        """Listen at a free port of L{family}."""
        where = {
            socket.AF_INET: "tcp:0:interface=127.0.0.1",
            socket.AF_INET6: "tcp6:0:interface=\\:\\:1",
            socket.AF_UNIX: f"unix:{self._folder}/{next(self._numbers)}",
        }[self.family]
        opened = serverFromString(self.reactor, where).listen(factory)
        port = self.result(opened.addCallback(self.accept))
        self.addCleanup(self.stop, port)
        return port

    def stop(self, port: Any) -> None:
        """Stop to listen at a port; do nothing if that was done before."""
        self.result(maybeDeferred(port.stopListening))

    def connect(self, port: Any) -> socket.socket:
        """Connect a client to a port, and do not run the reactor."""
        client = socket.socket(self.family)
        self.addCleanup(client.close)
        address = port.getHost()
        if self.family == socket.AF_UNIX:
            client.connect(address.name)
        else:
            client.connect((address.host, address.port))
        client.setblocking(False)
        return client

    def send(self, client: socket.socket, data: bytes) -> None:
        """Send all bytes."""
        left = memoryview(data)
        while left:
            with suppress(BlockingIOError):
                left = left[client.send(left) :]
            self.turn()

    def receive(self, client: socket.socket, size: int) -> bytes:
        """Receive a number of bytes, or all bytes before the end if these are fewer."""
        received = bytearray()
        while len(received) < size and (piece := self._piece(client, size - len(received))):
            received += piece
        return bytes(received)

    def receive_all(self, client: socket.socket) -> bytes:
        """Receive all bytes until the end of the connection."""
        return self.receive(client, 1 << 62)

    def _piece(self, client: socket.socket, most: int) -> bytes:
        pieces: list[bytes] = []

        def has_piece() -> bool:
            with suppress(BlockingIOError):
                pieces.append(client.recv(min(most, 1 << 20)))
            return bool(pieces)

        self.until(has_piece, "received anything")
        return pieces[0]

    def reset(self, client: socket.socket) -> None:
        """Close a TCP connection in such a way that the other end gets a reset."""
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
        client.close()


class OnUvloop(TransportCase):
    """The same on an event loop of uvloop, which accepts, reads and writes."""

    def build_reactor(self) -> Any:
        return UvloopReactor(load().new_event_loop())

    def setUp(self) -> None:
        need_uvloop()
        super().setUp()
        self.clock = LoopClock(self.reactor.loop, self.reactor.seconds)

    def turn(self, seconds: float = 0.0) -> None:
        loop = self.reactor.loop
        if seconds:
            loop.call_later(seconds, loop.stop)
        else:
            loop.call_soon(loop.stop)
        loop.run_forever()

    def until(self, look: Callable[[], Any], what: str) -> Any:
        """
        Do what the method of the other class does, in one run of the loop: the loop opens files
        when a run begins.
        """
        loop, began, seen = self.reactor.loop, time.monotonic(), []

        def check() -> None:
            try:
                seen.append(look())
            except Exception:  # noqa: BLE001 - raised again below, outside of the loop
                seen.append(Failure())
            if seen[-1] or time.monotonic() - began > DEADLINE:
                loop.stop()
            else:
                loop.call_later(0.001, check)

        loop.call_soon(check)
        loop.run_forever()
        if isinstance(seen[-1], Failure):
            seen[-1].raiseException()
        if not seen[-1]:
            self.fail(f"not {what} within {DEADLINE:.0f} s")
        return seen[-1]

    def accept(self, port: Any) -> Any:
        return accept_by_loop(self.reactor, port)

    def _close_reactor(self) -> None:
        super()._close_reactor()
        self.reactor.loop.close()
        gc.collect()
