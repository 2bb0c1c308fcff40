"""A world in which nothing happens by itself, for tests that move time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from authotron.world import Agents, World, no_network

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
