"""The interface of the reactor that a gateway runs on."""

from __future__ import annotations

from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFromThreads,
    IReactorProcess,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)


class IGatewayReactor(
    IReactorCore,
    IReactorTime,
    IReactorTCP,
    IReactorUNIX,
    IReactorSocket,
    IReactorProcess,
    IReactorFromThreads,
):
    """
    Everything that the gateway asks of a Twisted reactor, for annotations.

    No class declares that it provides C{IGatewayReactor}: the reactors of Twisted and of the tests
    provide each of the combined interfaces.
    """
