"""The transports that serve clients: those of Twisted, and those on uvloop."""

from __future__ import annotations

import socket

from tests.process.transport_contract import TransportContract
from tests.process.transports import OnUvloop


class TwistedTCPTests(TransportContract):
    """Twisted's transport of TCP."""


class TwistedTCP6Tests(TransportContract):
    """Twisted's transport of TCP, over IPv6."""

    family = socket.AF_INET6


class TwistedUNIXTests(TransportContract):
    """Twisted's transport of UNIX sockets."""

    family = socket.AF_UNIX


class UvloopTCPTests(OnUvloop, TransportContract):
    """Connections of TCP on uvloop."""


class UvloopTCP6Tests(OnUvloop, TransportContract):
    """Connections of TCP on uvloop, over IPv6."""

    family = socket.AF_INET6


class UvloopUNIXTests(OnUvloop, TransportContract):
    """Connections of UNIX sockets on uvloop."""

    family = socket.AF_UNIX


del TransportContract
