"""Build the L{World} that plugins get: the reactor, the thread pool and the network."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from authotron.concurrency.reactor import IGatewayReactor
from authotron.concurrency.single_thread import SingleThread
from authotron.daemon.uvloop.clock import clock_of
from authotron.limits.hash_queue import THREADS
from authotron.net import http_agents
from authotron.net.endpoints import connector
from authotron.net.proxies import from_environment
from authotron.net.world import World


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


def make_world(reactor: IGatewayReactor, pool: Pool) -> World:
    """Build the World of a running process: real time, threads and network."""
    return World(
        clock_of(reactor),
        pool,
        http_agents.Connections(reactor, proxies=from_environment(os.environ)),
        connect=connector(reactor),
        own_thread=pool.own_thread,
    )
