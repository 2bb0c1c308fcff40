"""Single flight across threads: work that several callers want at the same time is done once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from authotron.client.errors import Unavailable

T = TypeVar("T")
Work = Callable[[], T]
Spawn = Callable[[Callable[[], None]], None]
"""Runs a function in another thread."""


def in_a_thread(function: Callable[[], None]) -> None:
    """Run a function in a thread of its own, which does not keep the process from ending."""
    threading.Thread(target=function, name="authotron-client", daemon=True).start()


class Flights(Generic[T]):
    """
    Do work once for all callers that ask for the same key while the work is under way.

    The work does not depend on how callers wait (in a thread, in a coroutine, for a Deferred): all
    callers get the same C{concurrent.futures.Future}, and a caller that stops waiting does not
    cancel it.
    """

    def __init__(self, spawn: Spawn = in_a_thread) -> None:
        self._spawn = spawn
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[T]] = {}
        _ALL.add(self)

    def result(self, key: Hashable, work: Work[T], timeout: float) -> T:
        """
        Do the work in the calling thread, or wait for another thread that does the same work
        already.

        @raise concurrent.futures.TimeoutError: the other thread did not finish in time.
        """
        future, is_new = self._join(key)
        if is_new:
            self._run(key, work, future)
        return future.result(timeout)

    def start(self, key: Hashable, work: Work[T]) -> Future[T]:
        """Do the work in another thread, unless the work is under way already."""
        future, is_new = self._join(key)
        if is_new:
            try:
                self._spawn(lambda: self._run(key, work, future))
            # No thread can be started for this work, so give up; the next caller that needs the
            # work tries again to start one.
            except RuntimeError as error:
                self._remove(key, future)
                future.set_exception(Unavailable(f"no thread could be started: {error}"))
        return future

    def is_running(self, key: Hashable) -> bool:
        return key in self._running

    def restart(self) -> None:
        """
        Forget all work that is under way: after a fork, the threads that did the work do not exist
        in the child process.
        """
        self._lock = threading.Lock()
        self._running = {}

    def _join(self, key: Hashable) -> tuple[Future[T], bool]:
        with self._lock:
            future = self._running.get(key)
            if future is not None:
                return future, False
            future = self._running[key] = Future()
            # After this point, calling cancel() on the future has no effect.
            future.set_running_or_notify_cancel()
            return future, True

    def _run(self, key: Hashable, work: Work[T], future: Future[T]) -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - the callers that wait for the result raise the error
            self._remove(key, future)
            future.set_exception(error)
        else:
            self._remove(key, future)
            future.set_result(result)

    def _remove(self, key: Hashable, future: Future[T]) -> None:
        with self._lock:
            if self._running.get(key) is future:
                del self._running[key]


# All L{Flights} of this process, which a forked child process restarts.
_ALL: WeakSet[Flights[Any]] = WeakSet()


def _restart_all() -> None:
    for flights in list(_ALL):
        flights.restart()


os.register_at_fork(after_in_child=_restart_all)
