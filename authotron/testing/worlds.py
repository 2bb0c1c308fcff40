"""A C{World} for unit tests: only the test moves the clock, and there is no network."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute, maybeDeferred
from twisted.internet.task import Clock

from authotron.concurrency.racing import MaybeAwaited
from authotron.config.plugins import PluginConfig, documented_type
from authotron.config.section import read
from authotron.net.world import Agents, World, forbid_http

A = TypeVar("A")
T = TypeVar("T")

NOW = 1_800_000_000
"""The time at which the clock of a test starts, in seconds since the epoch."""


def world(clock: Clock | None = None, agents: Agents = forbid_http) -> World:
    """
    Build a L{World} whose threads run work immediately, in the thread of the test.

    @param clock: the clock of the L{World}; by default a clock that shows L{NOW}.
    @param agents: answers HTTP requests, such as a C{FakeRemote}; by default a request is an error.
    """
    return World(clock or clock_at(NOW), run_at_once, agents)


def make_plugin(module: ModuleType, given_world: World | None = None, **keys: Any) -> Any:
    """
    Build the plugin of C{module} from the keys of its configuration section, as the daemon does.

    By default the plugin is named C{"it"} and its realm C{"here"}, because the contract tests
    expect these names.

    @raise ConfigError: the keys do not fit the class C{Config} of the module.
    """
    named = {"name": "it", "realm": "here"} if issubclass(module.Config, PluginConfig) else {}
    section = read(module.Config, {"type": documented_type(module), **named, **keys})
    return module.make(section, given_world or world())


def clock_at(seconds: float) -> Clock:
    """Build a clock for tests that shows C{seconds} since the epoch."""
    clock = Clock()
    clock.advance(seconds)
    return clock


def run_at_once(work: Callable[[], Any], /) -> Deferred[Any]:
    """
    Run C{work} immediately in the calling thread, and return a Deferred that has already fired with
    its result.
    """
    return execute(work)


def as_deferred(method: Callable[[A], MaybeAwaited[T]], argument: A) -> Deferred[T]:
    """Call a method of a plugin that returns a value or a coroutine, and return a Deferred."""
    return maybeDeferred(method, argument)  # type: ignore[call-overload,no-any-return] # the method returns a value or a coroutine
