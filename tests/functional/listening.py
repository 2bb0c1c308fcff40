"""Listeners on ports of their own, which play a remote or relay to one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from attrs import define, field

from tests.functional import wire


@define(eq=False)
class Listener:
    """
    A listener that serves each connection in a thread of its own.

    @ivar connections: how many there were.
    """

    connections: int = field(default=0, init=False)
    _listening: socket.socket = field(init=False)

    def start(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        in_thread(self._accept)
        return self

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    def stop(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            self.connections += 1
            in_thread(self.serve, client)

    def serve(self, client: socket.socket) -> None:
        """Serve a connection."""
        raise NotImplementedError


@define(eq=False)
class Deaf(Listener):
    """
    A listener that never answers.

    @ivar open: connections that are there.
    """

    open: int = field(default=0, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def serve(self, client: socket.socket) -> None:
        self._count(1)
        try:
            while client.recv(65536):
                pass
        finally:
            client.close()
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self.open += more


@define(eq=False)
class Relay(Listener):
    """
    A listener that passes on received bytes to another port.

    @ivar target: the port that is really meant.
    """

    target: int

    def serve(self, client: socket.socket) -> None:
        server = wire.connect(self.target)
        server.settimeout(None)
        in_thread(pump, client, server)
        self.answer(server, client)

    def answer(self, server: socket.socket, client: socket.socket) -> None:
        """Pass on the answer."""
        pump(server, client)


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on all bytes, and then the end of the connection."""
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def in_thread(work: Callable[..., None], *given: Any) -> None:
    """Start C{work} in a thread; it ends with its connection at the latest."""

    def worked() -> None:
        with suppress(OSError):
            work(*given)

    threading.Thread(target=worked, daemon=True).start()
