"""
A thread that serves only one component, such as SQLite, so that work of other components does not
delay it.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from authotron.model.errors import Unavailable

T = TypeVar("T")

MOST_WAITING = 10_000
"""
Maximum number of pieces of work in the queue of the thread: many more than the thread does in a
second.
"""


@define(eq=False)
class SingleThread:
    """
    A thread that does one piece of work at a time, in the order of the calls.

    The thread starts with the first piece of work. Work that was cancelled before it started is
    never started. The thread is a daemon thread: it does not keep the process alive.

    @ivar _call_from_thread: the function C{callFromThread} of the reactor.
    """

    _call_from_thread: Callable[..., object]
    _work: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = field(
        factory=SimpleQueue, init=False
    )
    _thread: Thread | None = field(default=None, init=False)

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        if self._work.qsize() >= MOST_WAITING:
            return fail(Unavailable("the queue of calls for the thread is full"))
        if self._thread is None:
            self._thread = Thread(target=self._run, name="authotron-own", daemon=True)
            self._thread.start()
        answer: Deferred[T] = Deferred()
        self._work.put((work, answer))
        return answer

    def stop(self) -> None:
        """End the thread once the work that was given to it is done."""
        if self._thread is not None:
            self._work.put(None)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, answer = item
            if not answer.called:
                self._call_from_thread(_give, answer, _outcome(work))


def _outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except BaseException:  # noqa: BLE001 - an exception in a piece of work must not end the thread
        return Failure()


def _give(answer: Deferred[Any], outcome: Any) -> None:
    if not answer.called:  # cancelled meanwhile
        answer.callback(outcome)
