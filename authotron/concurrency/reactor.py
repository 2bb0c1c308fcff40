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
    All methods of a Twisted reactor that the gateway calls, as one type for annotations.

    No class declares that it provides C{IGatewayReactor}: the reactors of Twisted and of the tests
    provide each of the combined interfaces.
    """
