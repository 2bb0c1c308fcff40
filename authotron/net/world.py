"""
The L{World}, through which a plugin uses everything outside of itself: clock, threads, network,
limits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakValueDictionary

from attrs import Factory, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.web.iweb import IAgent

from authotron.limits.descriptors import LimitConnections, as_configured
from authotron.limits.hash_queue import HashQueue
from authotron.limits.lru_cache import DEFAULT_BYTES
from authotron.limits.rejected_passwords import RejectedPasswords
from authotron.net.breaker import Breakers

if TYPE_CHECKING:  # A gateway that calls no remote service imports neither module.
    from authotron.net.proxies import Proxies
    from authotron.net.tls import Trust

T = TypeVar("T")

TIMEOUT_SHARE = 0.95
"""
Share of a plugin's timeout after which its calls of remote services time out, so that the error
message names the remote service.
"""


class Threads(Protocol):
    """Runs blocking work in a thread, so that the reactor is not blocked."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """Start C{work} in a thread; the Deferred fires with its result."""


class OwnThread(Threads, Protocol):
    """
    A thread that belongs to one plugin, and does one piece of work at a time, in the order of the
    calls.
    """

    def stop(self) -> None:
        """End the thread after the work that it was given."""


class Connect(Protocol):
    """Creates endpoints for connections to other machines."""

    def __call__(self, host: str, port: int, /) -> IStreamClientEndpoint:
        """
        Return an endpoint that can connect to C{port} of C{host}.

        @param host: a name, an address, or the absolute path of a UNIX socket, which has no port.
        """


def forbid_connections(host: str, port: int, /) -> IStreamClientEndpoint:
    """Refuse to connect, in a L{World} without a network."""
    raise AssertionError(f"this World has no network, so it cannot connect to {host}:{port}")


class Agents(Protocol):
    """Returns an HTTP agent for each TLS trust; connections are never shared between two trusts."""

    def __call__(self, trust: Trust, proxies: Proxies | None = None, /) -> IAgent:
        """
        Return the HTTP agent whose connections are verified by a given TLS trust.

        @param proxies: the HTTP proxies to use, or C{None} for those of the environment.
        """


def forbid_http(_trust: Trust, _proxies: Proxies | None = None, /) -> IAgent:
    """Refuse to send HTTP requests, in a L{World} without a network."""
    raise AssertionError("this World has no network, so it cannot send HTTP requests")


@frozen
class _Borrowed:
    """
    Runs the work of a plugin in the shared threads instead of a thread of its own, for a L{World}
    that cannot start further threads.
    """

    _threads: Threads

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        return self._threads(work)

    def stop(self) -> None:
        """Do nothing: shared threads are stopped by the service that owns them."""


@frozen
class World:
    """
    Everything outside of a plugin that the plugin may use, such as the clock, threads and the
    network.

    @ivar clock: the clock for timeouts, whose C{seconds()} returns the seconds since the epoch.
    @ivar threads: a bounded pool for work that takes longer than a few milliseconds.
    @ivar agents: the factory of HTTP agents; plugins send requests through
        L{authotron.net.http.WebClient}.
    @ivar timeout: seconds after which the gateway cancels a call of the plugin.
    @ivar connect: creates endpoints for protocols other than HTTP.
    @ivar breakers: the circuit breakers of all remotes.
    @ivar limit_connections: a function that receives the configured number of connections of the
        plugin, and returns how many the plugin may open: this number or fewer.
    @ivar memory: maximum number of bytes that the caches of the plugin may take up.
    @ivar rejected_passwords: wrong passwords, which are not sent to a remote service again for some
        time.
    @ivar kept_across_reloads: objects that a plugin keeps when the configuration is reloaded, such
        as fetched key sets; each object is stored under all the settings from which it was built.
    @ivar own_thread: a function that starts a thread that only one plugin uses; by default no
        thread is started, and C{threads} does the work.
    @ivar hash_queue: verifies passwords against hashes in C{threads}, in an order in which no
        client that sends many passwords delays the others.
    """

    clock: IReactorTime
    threads: Threads
    agents: Agents = forbid_http
    timeout: float = 5.0
    connect: Connect = forbid_connections
    breakers: Breakers = field(factory=Breakers)
    limit_connections: LimitConnections = as_configured
    memory: int = DEFAULT_BYTES
    rejected_passwords: RejectedPasswords = Factory(
        lambda world: RejectedPasswords(world.clock), takes_self=True
    )
    kept_across_reloads: WeakValueDictionary[Hashable, object] = field(factory=WeakValueDictionary)
    own_thread: Callable[[], OwnThread] = field(
        default=Factory(lambda self: lambda: _Borrowed(self.threads), takes_self=True)
    )
    hash_queue: HashQueue = field(
        default=Factory(lambda self: HashQueue(self.clock, self.threads), takes_self=True)
    )
