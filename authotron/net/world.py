"""All that a part may touch of the outside."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from attrs import Factory, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.web.iweb import IAgent

from authotron.limits.descriptors import Narrow, as_configured
from authotron.limits.hash_queue import HashQueue
from authotron.limits.lru_cache import DEFAULT_BYTES
from authotron.limits.wrong_pairs import WrongPairs
from authotron.net.breaker import Breakers
from authotron.net.tls import Trust

T = TypeVar("T")

SHARE = 0.95
"""Of the patience with a part, so that its own word comes before it is cut off."""


class Threads(Protocol):
    """Runs what would hold up the reactor somewhere else."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """Start C{work} and say later what came of it."""


class OwnThread(Threads, Protocol):
    """A thread for one user: it does one piece of work at a time, in the order of the calls."""

    def stop(self) -> None:
        """End the thread once the work that was given to it is done."""


class Connect(Protocol):
    """Knows the way to other machines."""

    def __call__(self, host: str, port: int, /) -> IStreamClientEndpoint:
        """Where a connection to C{port} of C{host} would begin. Nothing is connected yet."""


def no_way(host: str, port: int, /) -> IStreamClientEndpoint:
    """For a world without other machines."""
    raise AssertionError(f"there is no way to {host}:{port} in this world")


class Agents(Protocol):
    """Speaks HTTP; connections of one trust are never used for another."""

    def __call__(self, trust: Trust, /) -> IAgent:
        """The agent whose connections are checked like this."""


def no_network(_trust: Trust) -> IAgent:
    """For a world in which nobody is to be asked."""
    raise AssertionError("there is no network in this world")


@frozen
class _Borrowed:
    """The shared threads, for a world that cannot start further ones."""

    _threads: Threads

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        return self._threads(work)

    def stop(self) -> None:
        """Shared threads go on."""


@frozen
class World:
    """
    The outside, as far as it may be touched.

    @ivar clock: timers, and with C{clock.seconds()} the seconds since the epoch.
    @ivar threads: a bounded pool for work that takes longer than a few milliseconds.
    @ivar agents: asks others by HTTP; parts do so through C{web_client}.
    @ivar patience: seconds after which nobody waits for a part any more.
    @ivar connect: the way to other machines, for protocols other than HTTP.
    @ivar breakers: know which remotes are left alone for a while.
    @ivar narrow: how many of the connections that it asks for a part may have.
    @ivar memory: bytes that a part may take for what it remembers.
    @ivar wrong_pairs: knows which passwords are not sent to a remote again for a while.
    @ivar lasting: what a part finds again after a reload, by names that say all it was made of.
    @ivar own_thread: makes a thread that is not shared; without one, C{threads} do its work.
    @ivar hash_queue: shares the threads among clients whose passwords are to be verified.
    """

    clock: IReactorTime
    threads: Threads
    agents: Agents = no_network
    patience: float = 5.0
    connect: Connect = no_way
    breakers: Breakers = field(factory=Breakers)
    narrow: Narrow = as_configured
    memory: int = DEFAULT_BYTES
    wrong_pairs: WrongPairs = Factory(lambda world: WrongPairs(world.clock), takes_self=True)
    lasting: WeakValueDictionary[Hashable, object] = field(factory=WeakValueDictionary)
    own_thread: Callable[[], OwnThread] = field(
        default=Factory(lambda self: lambda: _Borrowed(self.threads), takes_self=True)
    )
    hash_queue: HashQueue = field(
        default=Factory(lambda self: HashQueue(self.clock, self.threads), takes_self=True)
    )
