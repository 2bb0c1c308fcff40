"""A thread of one user does work in order, outside the reactor, and ends when it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import Queue
from threading import Event, Thread, current_thread
from threading import enumerate as all_threads
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency import single_thread
from authotron.concurrency.single_thread import SingleThread
from authotron.config import section
from authotron.config.sources import Sources
from authotron.model.errors import Unavailable
from authotron.net.world import World
from authotron.stores import sqlite
from authotron.testing.contracts import make_token
from authotron.testing.worlds import NOW, clock_at
from tests.stores.test_sqlite import fresh

_PATIENCE = 30.0


@define(eq=False)
class Reactor:
    """Receives calls from threads, and runs them when the test says so."""

    _calls: Queue[Callable[[], object]] = field(factory=Queue)

    def callFromThread(self, work: Callable[..., object], *args: object) -> None:
        self._calls.put(partial(work, *args))

    def turn(self) -> None:
        """Wait for a call from a thread, and run it."""
        self._calls.get(timeout=_PATIENCE)()


class SingleThreadTests(SynchronousTestCase):
    """What the user of the thread can rely on."""

    def setUp(self) -> None:
        self.reactor: Any = Reactor()
        self.thread = SingleThread(self.reactor.callFromThread)
        self.addCleanup(self.thread.stop)

    def finished(self, deferred: Deferred[Any]) -> Any:
        while not deferred.called:
            self.reactor.turn()
        return self.successResultOf(deferred)

    def blocked(self) -> Event:
        """Give the thread work, not awaited, that lasts until the event is set."""
        begun, go_on = Event(), Event()

        def work() -> None:
            begun.set()
            go_on.wait(_PATIENCE)

        working = self.thread(work)
        begun.wait(_PATIENCE)
        working.cancel()
        self.failureResultOf(working, CancelledError)
        return go_on

    def test_one_thread_in_order_T84d(self) -> None:
        """All work is done in one thread, which is not the caller's, in the order of the calls."""
        order: list[int] = []

        def work(number: int) -> Thread:
            order.append(number)
            return current_thread()

        asked = [self.thread(partial(work, number)) for number in range(9)]
        threads = {self.finished(each) for each in asked}
        self.assertEqual((order, len(threads)), ([*range(9)], 1))
        self.assertNotIn(current_thread(), threads)

    def test_failure_reaches_the_caller_T84d(self) -> None:
        """A failure of the work reaches its caller, and the thread goes on."""
        broken = self.thread(lambda: 1 / 0)
        self.reactor.turn()
        self.failureResultOf(broken, ZeroDivisionError)
        self.assertEqual(self.finished(self.thread(lambda: 7)), 7)

    def test_cancelled_work_T84d(self) -> None:
        """Work that was cancelled is not started; if it has started, its result is dropped."""
        go_on = self.blocked()
        did: list[str] = []
        first, second, third = (self.thread(partial(did.append, str(n))) for n in (1, 2, 3))
        for each in (first, second):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        go_on.set()
        self.finished(third)
        self.assertEqual(did, ["3"])

    def test_bounded_T84d(self) -> None:
        """More than 10,000 pieces of work at once are an outage."""
        go_on = self.blocked()
        waiting = [self.thread(lambda: None) for _ in range(single_thread.MOST_WAITING)]
        self.failureResultOf(self.thread(lambda: None), Unavailable)
        go_on.set()
        self.finished(waiting[-1])

    def test_stop_T84d(self) -> None:
        """A stopped thread ends after the work that it was given."""
        thread: Thread = self.finished(self.thread(current_thread))
        last = self.thread(lambda: 7)
        self.thread.stop()
        self.assertEqual(self.finished(last), 7)
        thread.join(_PATIENCE)
        self.assertFalse(thread.is_alive())


class SqliteThreadTests(SynchronousTestCase):
    """The token store does not wait for passwords that are being verified."""

    def setUp(self) -> None:
        self.reactor: Any = Reactor()
        self.folder = fresh(self.mktemp())
        own_thread = partial(SingleThread, self.reactor.callFromThread)
        self.world = World(clock_at(NOW), self.busy, own_thread=own_thread)

    def busy(self, _work: Any, /) -> Deferred[Any]:
        """All shared threads verify passwords without end."""
        return Deferred()

    def do(self, work: Any) -> Any:
        deferred = Deferred.fromCoroutine(work)
        while not deferred.called:
            self.reactor.turn()
        return self.successResultOf(deferred)

    def store(self) -> Any:
        given = {"type": "sqlite", "path": "tokens.db"}
        config = section.read(sqlite.Config, given, sources=Sources(self.folder))
        return sqlite.make(config, self.world)

    def threads(self) -> int:
        return sum(each.name == "authotron-own" for each in all_threads())

    def test_store_answers_while_threads_are_busy_T84d(self) -> None:
        """A store answers while all shared threads are busy."""
        store, kept = self.store(), make_token()
        self.do(store.open())
        self.do(store.add(kept))
        self.assertEqual(self.do(store.get(kept.id)), kept)
        self.do(store.close())

    def test_two_stores_T84d(self) -> None:
        """During a reload two stores are open, each with a thread; closing one ends its thread."""
        before = self.threads()
        old, new, kept = self.store(), self.store(), make_token()
        self.do(old.open())
        self.do(new.open())
        self.assertEqual(self.threads(), before + 2)
        [thread] = [old._thread._thread]
        self.do(old.close())
        thread.join(_PATIENCE)
        self.assertEqual(self.threads(), before + 1)
        self.do(new.add(kept))
        self.do(new.close())

    def test_close_while_busy_T84d(self) -> None:
        """A store that is closed finishes its work first; then it can be opened again."""
        store, kept = self.store(), make_token()
        self.do(store.open())
        adding = Deferred.fromCoroutine(store.add(kept))
        self.do(store.close())
        self.successResultOf(adding)
        self.do(store.open())
        self.assertEqual(self.do(store.get(kept.id)), kept)
        self.do(store.close())
