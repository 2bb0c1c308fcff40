"""
The interface to systemd: inherited sockets, notifications and the watchdog.

See sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3).
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

from authotron.concurrency.reactor import IGatewayReactor
from authotron.config.endpoint import HTTP
from authotron.model.errors import ConfigError, Problem

MAIN, METRICS = "server", "metrics"
"""The sections of the configuration that may use the sockets of systemd."""

_MISSING = {
    MAIN: "systemd passed no socket to this process; start it with systemctl, or set host and port",
    METRICS: "systemd passed no socket named metrics; set FileDescriptorName=metrics in its unit",
}


def notify(environ: Mapping[str, str], *assignments: str) -> None:
    """
    Send a notification to systemd, if it has started this process; errors are ignored.

    @param assignments: the content of the notification, such as C{READY=1}.
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
    """Notify systemd that a reload begins; a later C{READY=1} ends the reload."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify(environ, "RELOADING=1", f"MONOTONIC_USEC={now}")


def watchdog(environ: Mapping[str, str]) -> float | None:
    """
    Return the seconds after which the watchdog of systemd expects a heartbeat, or C{None} without a
    watchdog.
    """
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() else None


def sockets(reactor: IGatewayReactor) -> Iterator[int]:
    """
    Yield the descriptors of the listening sockets that systemd has passed to this process.

    Twisted removes the environment variables of systemd when it is imported, so the descriptors are
    read from Twisted.
    """
    for index in count():
        try:
            adopted: Any = serverFromString(reactor, f"systemd:domain=INET:index={index}")
        except IndexError:
            return
        yield adopted.fileno


class _Port(unix.Port):
    """
    A listening port of Twisted at a UNIX socket that systemd holds.

    Unlike the port of Twisted, this class does not change mode and backlog of the socket, nor
    remove its file: the unit of systemd decides (SocketMode=, Backlog=, RemoveOnStop=).
    """

    _shouldShutdown = False  # the call shutdown(2) would also end the socket for systemd

    def __init__(
        self, listening: socket.socket, factory: IProtocolFactory, reactor: IGatewayReactor
    ) -> None:
        super().__init__(os.fsencode(listening.getsockname()), factory, reactor=reactor)
        self.backlog = 0  # unknown
        self._listening = listening

    def startListening(self) -> None:
        assert self.factory is not None
        self.factory.doStart()
        self.connected = True
        self.socket = self._listening
        self.fileno = self.socket.fileno  # type: ignore[method-assign] # the same type as in tcp.Port of Twisted
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        tcp.Port.connectionLost(self, reason)


@implementer(IStreamServerEndpoint)
@frozen
class Endpoint:
    """
    A listening socket that this process has inherited.

    @ivar protocol: the protocol that is served at the socket.
    """

    _reactor: IGatewayReactor
    descriptor: int
    protocol: str = HTTP

    @property
    def description(self) -> str:
        """The address of the socket."""
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
                listening.fileno(),
                listening.family,
                factory,  # type: ignore[arg-type] # any factory of protocols is accepted
            )
        return adopted


def endpoints(reactor: IGatewayReactor, which: str = MAIN) -> Sequence[Endpoint]:
    """
    Return the sockets that systemd has passed: those named C{metrics}, or all others.

    @raise ConfigError: systemd has not passed a socket for this port.
    """
    ours = [
        each for each in sockets(reactor) if (each == _named_metrics(reactor)) == (which == METRICS)
    ]
    if not ours:
        raise ConfigError([Problem(f"{which}.listen", _MISSING[which])])
    return [Endpoint(reactor, descriptor) for descriptor in ours]


def _named_metrics(reactor: IGatewayReactor) -> int | None:
    """Return the descriptor of the socket named C{metrics} (FileDescriptorName=)."""
    try:
        named: Any = serverFromString(reactor, f"systemd:domain=INET:name={METRICS}")
    except KeyError:
        return None
    descriptor: int = named.fileno
    return descriptor
