"""
What systemd hands over and wants to be told.

Its manual: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from attrs import frozen
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.model.errors import ConfigError, Problem

MAIN, METRICS = "server", "metrics"
"""The sections that may say so."""

_MISSING = {
    MAIN: "systemd has handed over no socket: begin with systemctl, or give host and port",
    METRICS: "systemd has handed over no socket of the name metrics (FileDescriptorName=)",
}


def notify(environ: Mapping[str, str], *assignments: str) -> None:
    """
    Tell systemd, if it wants to hear; what cannot be told is not told.

    @param assignments: such as C{READY=1}.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        with suppress(OSError):
            sender.sendto("\n".join(assignments).encode(), address)


def reloading(environ: Mapping[str, str]) -> None:
    """A reload has begun; it ends by C{READY=1}."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify(environ, "RELOADING=1", f"MONOTONIC_USEC={now}")


def watchdog(environ: Mapping[str, str]) -> float | None:
    """Seconds after which systemd wants to hear that we are alive, if it does."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() else None


def sockets(reactor: Any) -> Iterator[int]:
    """
    The descriptors of the listening sockets that systemd has handed over to this process.

    Twisted takes them out of the environment when it is imported, so it is Twisted that knows.
    """
    for index in count():
        try:
            adopted: Any = serverFromString(reactor, f"systemd:domain=INET:index={index}")
        except IndexError:
            return
        yield adopted.fileno


class _Port(unix.Port):
    """
    A UNIX socket that is systemd's.

    Twisted's own way to adopt one changes its mode and backlog, and removes it from the file system
    in the end; all that is systemd's to decide (SocketMode=, Backlog=, RemoveOnStop=).
    """

    _shouldShutdown = False  # shutdown(2) would end it for systemd as well

    def __init__(self, listening: socket.socket, factory: IProtocolFactory, reactor: Any) -> None:
        super().__init__(os.fsencode(listening.getsockname()), factory, reactor=reactor)
        self._listening = listening

    def startListening(self) -> None:
        assert self.factory is not None
        self.factory.doStart()
        self.connected = True
        self.socket = self._listening
        self.fileno = self.socket.fileno  # type: ignore[method-assign] # as Twisted does
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        tcp.Port.connectionLost(self, reason)


@implementer(IStreamServerEndpoint)
@frozen
class Endpoint:
    """A listening socket that was handed over."""

    _reactor: Any
    descriptor: int

    @property
    def description(self) -> str:
        """Its address."""
        with socket.socket(fileno=os.dup(self.descriptor)) as listening:
            name = listening.getsockname()
        return name if isinstance(name, str) else f"{name[0]} port {name[1]}"

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        return execute(self._listen, factory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        listening = socket.socket(fileno=os.dup(self.descriptor))
        listening.setblocking(False)
        if listening.family == socket.AF_UNIX:
            port = _Port(listening, factory, self._reactor)
            port.startListening()
            return port
        with listening:
            adopted: IListeningPort = self._reactor.adoptStreamPort(
                listening.fileno(), listening.family, factory
            )
        return adopted


def endpoints(reactor: Any, which: str = MAIN) -> Sequence[Endpoint]:
    """
    The sockets that were handed over: those called C{metrics}, or all others.

    @raise ConfigError: there are none.
    """
    ours = [
        each for each in sockets(reactor) if (each == _named_metrics(reactor)) == (which == METRICS)
    ]
    if not ours:
        raise ConfigError([Problem(f"{which}.listen", _MISSING[which])])
    return [Endpoint(reactor, descriptor) for descriptor in ours]


def _named_metrics(reactor: Any) -> int | None:
    """The descriptor that is called so (FileDescriptorName=)."""
    try:
        named: Any = serverFromString(reactor, f"systemd:domain=INET:name={METRICS}")
    except KeyError:
        return None
    descriptor: int = named.fileno
    return descriptor
