"""
Build the L{World} that plugins get: it gives access to the reactor, a thread pool and
the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.web.iweb import IAgent

from authotron.concurrency.reactor import IGatewayReactor
from authotron.concurrency.single_thread import SingleThread
from authotron.daemon.event_loop import clock_of
from authotron.limits.hash_queue import THREADS
from authotron.net.endpoints import connector
from authotron.net.world import Agents, World

# the function finds the module by its name, and imports it with the first remote service
if TYPE_CHECKING:
    from authotron.net.proxies import Proxies
    from authotron.net.tls import Trust

_AGENTS = "authotron.net.http_agents"
"""The module of HTTP agents, with which Twisted's HTTP client and TLS are loaded."""


class Pool(Service):
    """A small pool of threads for work that would block the reactor, such as password hashes."""

    def __init__(self, reactor: IGatewayReactor) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=THREADS, name="authotron")

    def startService(self) -> None:
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        super().stopService()
        self._pool.stop()

    def __call__(self, work: Callable[[], Any], /) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, work)

    def own_thread(self) -> SingleThread:
        """Return a new thread for one component alone, such as the SQLite store."""
        return SingleThread(self._reactor.callFromThread)


@define(eq=False, slots=False)
class RemoteAgents:
    """
    The HTTP agents of a running process.

    The module of HTTP agents is loaded when a plugin first wants an agent, so a gateway without
    remote services never loads it.
    """

    _reactor: IGatewayReactor

    def __call__(self, trust: Trust, proxies: Proxies | None = None, /) -> IAgent:
        return self._agents(trust, proxies)

    @cached_property
    def _agents(self) -> Agents:
        agents: Agents = import_module(_AGENTS).from_environment(self._reactor, os.environ)
        return agents


def make_world(reactor: IGatewayReactor, pool: Pool) -> World:
    """Build the World of a running process: real time, threads and network."""
    return World(
        clock_of(reactor),
        pool,
        RemoteAgents(reactor),
        connect=connector(reactor),
        own_thread=pool.own_thread,
    )
