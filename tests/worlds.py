"""A world in which nothing happens by itself, for tests that move time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute, maybeDeferred
from twisted.internet.task import Clock

from authotron.concurrency.racing import Answer
from authotron.net.world import Agents, World, no_network

A = TypeVar("A")
T = TypeVar("T")
NOW = 1_800_000_000


def world(clock: Clock | None = None, agents: Agents = no_network) -> World:
    """Threads that work at once, and a clock that stands at L{NOW}."""
    return World(clock or at(NOW), at_once, agents)


def at(seconds: float) -> Clock:
    """A clock that stands at C{seconds}."""
    clock = Clock()
    clock.advance(seconds)
    return clock


def at_once(work: Callable[[], Any], /) -> Deferred[Any]:
    """Does the work here and now."""
    return execute(work)


def asked(ask: Callable[[A], Answer[T]], about: A) -> Deferred[T]:
    """What a part says, whether it has to wait for it or not."""
    return maybeDeferred(ask, about)  # type: ignore[call-overload,no-any-return] # it may be either
