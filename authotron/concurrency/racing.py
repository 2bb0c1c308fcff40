"""Run several pieces of work at once: races, timeouts and cancellation."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from itertools import chain
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, Union

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from authotron.concurrency.reactor_time import METER
from authotron.model.errors import TimedOut

if TYPE_CHECKING:
    from typing_extensions import TypeIs  # the module typing has TypeIs only since Python 3.13

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")

Awaited = Coroutine[Any, Any, T]
"""A coroutine that has not started yet; its result is of type C{T}."""

AsyncCall = Callable[[], Awaited[T]]
"""Creates the coroutine that does a piece of work."""

MaybeAwaited = Union[T, Awaited[T]]  # noqa: UP007 - of a type variable
"""The result of a plugin that answers at once, or the coroutine that produces the result."""

Started = Union[T, Failure, Deferred[T]]  # noqa: UP007 - of a type variable
"""The result or the failure of work that has ended, or the Deferred of work under way."""


class AllFailed(Exception):
    """
    Every entrant of a race has failed.

    @ivar reasons: the errors with which the entrants of the race failed, in the order of the
        entrants.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__()
        self.reasons = tuple(failure.value for failure in failures)


def start(work: Awaited[T]) -> Started[T]:
    """
    Start a coroutine; return its outcome if it need not wait, else a Deferred.

    A coroutine that does not have to wait finishes at once, and no Deferred is created for it.
    """
    try:
        waits_for = work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    except Exception:  # noqa: BLE001 - any error of the work becomes part of its outcome
        return Failure()
    return Deferred.fromCoroutine(_rest(work, waits_for))


def is_pending(outcome: Started[T]) -> TypeIs[Deferred[T]]:
    """
    Whether a piece of work that was started has no outcome yet.

    The exact type is compared, because L{start} never returns a subclass of C{Deferred}, and
    C{isinstance} with an abstract class takes four times as long.
    """
    return type(outcome) is Deferred


def _rest(work: Awaited[T], waits_for: Any) -> Generator[Any, Any, T]:
    """Run a coroutine from its first wait to its end, and measure the time of each step."""
    meter = METER.get()
    began: float | None = None
    while True:
        try:
            try:
                answer = yield waits_for
            # A generator that waits for an event that never happens is closed by the garbage
            # collection.
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - any exception is passed to the coroutine, a cancellation too
                began = meter.start() if meter is not None else None
                waits_for = work.throw(error)
            else:
                began = meter.start() if meter is not None else None
                waits_for = work.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            if meter is not None:
                meter.stop(began)
                began = None


def run(
    clock: IReactorTime,
    timeout: float,
    call: Callable[[A], MaybeAwaited[T]],
    argument: A,
    on_done: Callable[[T | Failure, float, B], T | Failure],
    context: B,
) -> Started[T]:
    """
    Start C{call(argument)}, and cancel the work after C{timeout} seconds.

    @param on_done: a function that is called with the outcome, the seconds that the work took, and
        C{context}; its return value replaces the outcome. The function C{on_done} must not raise an
        exception.
    """
    began = clock.seconds()
    outcome: Started[T]
    try:
        answer = call(argument)
    except Exception:  # noqa: BLE001 - an error of the call is the outcome of this piece of work alone
        outcome = Failure()
    else:
        outcome = start(answer) if isinstance(answer, CoroutineType) else answer  # type: ignore[assignment] # a value that is not a coroutine is the result itself
        if type(outcome) is Deferred:  # A call of L{is_pending} would take 0.1 us longer.
            return _cancel_after(clock, timeout, outcome).addBoth(
                _done, clock, began, on_done, context
            )
    return on_done(outcome, clock.seconds() - began, context)  # type: ignore[arg-type] # the outcome is not a Deferred here


def _done(
    outcome: T | Failure,
    clock: IReactorTime,
    began: float,
    on_done: Callable[[T | Failure, float, B], T | Failure],
    context: B,
) -> T | Failure:
    return on_done(outcome, clock.seconds() - began, context)


def _cancel_after(clock: IReactorTime, seconds: float, work: Deferred[T]) -> Deferred[T]:
    return work.addTimeout(seconds, clock).addErrback(_timed_out, seconds)


def _timed_out(failure: Failure, seconds: float) -> NoReturn:
    failure.trap(defer.TimeoutError)
    raise TimedOut(f"no answer within {seconds:g} s") from None


async def with_timeout(clock: IReactorTime, seconds: float, work: Awaited[T]) -> T:
    """
    Wait for C{work}, at most for C{seconds}.

    @raise TimedOut: the work took longer than C{seconds}, and was cancelled.
    """
    outcome = start(work)
    if is_pending(outcome):
        return await _cancel_after(clock, seconds, outcome)
    if isinstance(outcome, Failure):  # as in L{result_of}, which would be one more coroutine
        outcome.raiseException()
    return outcome


async def result_of(outcome: Started[T]) -> T:
    """
    Return the result of work that was started, and wait for the result if the
    work has not ended.
    """
    if is_pending(outcome):
        return await outcome
    if isinstance(outcome, Failure):
        outcome.raiseException()
    return outcome


async def shield(work: Awaited[T], on_unobserved: Callable[[Failure], object]) -> T:
    """
    Wait for the result of C{work}; if the waiting caller is cancelled, C{work} goes on.

    @param on_unobserved: called if the work fails after its caller was cancelled.
    """
    outcome = start(work)
    if not is_pending(outcome):
        return await result_of(outcome)
    caller: Deferred[T] = Deferred()

    def ended(result: T | Failure) -> None:
        if not caller.called:
            caller.callback(result)
        elif isinstance(result, Failure):
            on_unobserved(result)

    outcome.addBoth(ended)
    return await caller


async def wait_all(outcomes: Sequence[Started[T]]) -> Sequence[T | Failure]:
    """
    Wait for every piece of work that was started; return each one's result or failure.

    If the caller is cancelled, the work that is still under way is cancelled as well.
    """
    if none_pending(outcomes):
        return outcomes
    running = [each if is_pending(each) else _fired(each) for each in outcomes]
    finished: Deferred[list[T | Failure]] = Deferred()

    def all_ended(results: Any) -> None:
        # If a DeferredList is cancelled, it does not fail: it succeeds, and its results contain the
        # failures of the cancelled Deferreds.
        if not finished.called:
            finished.callback([result for _, result in results])

    DeferredList(running, consumeErrors=True).addCallback(all_ended)
    try:
        return await finished
    finally:
        for each in running:
            each.cancel()


def none_pending(outcomes: Sequence[Started[T]]) -> TypeIs[Sequence[T | Failure]]:
    """Return whether every piece of work in the list has an outcome already."""
    for each in outcomes:  # noqa: SIM110 - a generator expression takes twice as long
        if type(each) is Deferred:
            return False
    return True


def _fired(outcome: T | Failure) -> Deferred[T]:
    return defer.fail(outcome) if isinstance(outcome, Failure) else defer.succeed(outcome)


async def first_success(
    clock: IReactorTime,
    entrants: Sequence[A],
    ask: Callable[[A], Started[T]],
    *,
    in_order: bool = False,
) -> T:
    """
    Ask all C{entrants} at once; return the first success, and cancel the others.

    If several entrants succeed in the same reactor turn, the first of them in C{entrants} wins. If
    an entrant succeeds at once, the race ends, and the entrants after it are not started.

    @param in_order: whether the success of an entrant is accepted only after all entrants before it
        have failed.

    @raise AllFailed: every entrant failed, or there are no entrants.
    """
    failures: list[Failure] = []
    rest = iter(entrants)
    for entrant in rest:
        outcome = ask(entrant)
        if is_pending(outcome):
            break
        if not isinstance(outcome, Failure):
            return outcome
        failures.append(outcome)
    else:
        raise AllFailed(failures)
    race = _Race[T](clock, in_order, len(entrants), dict(enumerate(failures)))
    try:
        race.start(chain([outcome], map(ask, rest)))
        return await race.finished
    finally:
        race.stop()


@define(eq=False)
class _Race(Generic[T]):
    """The successes and failures of a race so far, by the positions of the entrants."""

    _clock: IReactorTime
    _in_order: bool
    _entrants: int
    _failures: dict[int, Failure]
    finished: Deferred[T] = field(factory=Deferred, init=False)
    _running: list[Deferred[None]] = field(factory=list, init=False)
    _successes: dict[int, T] = field(factory=dict, init=False)
    _starting: bool = field(default=True, init=False)

    def start(self, others: Iterable[Started[T]]) -> None:
        for position, outcome in enumerate(others, len(self._failures)):
            if is_pending(outcome):
                self._running.append(
                    outcome.addCallbacks(
                        self._succeeded,
                        self._failed,
                        callbackArgs=(position,),
                        errbackArgs=(position,),
                    )
                )
            elif isinstance(outcome, Failure):
                self._failed(outcome, position)
            else:
                self._succeeded(outcome, position)
            self._settle()
            if self.finished.called:
                return
        self._starting = False

    def stop(self) -> None:
        for each in self._running:
            each.cancel()

    def _succeeded(self, result: T, position: int) -> None:
        self._successes[position] = result
        # An earlier entrant of the race may still succeed in this reactor turn; then the earlier
        # entrant wins.
        if not self._starting:
            self._clock.callLater(0, self._settle)

    def _failed(self, failure: Failure, position: int) -> None:
        self._failures[position] = failure
        if self._successes:
            self._clock.callLater(0, self._settle)
        elif not self._starting:
            self._settle()

    def _settle(self) -> None:
        if self.finished.called:
            return
        if len(self._failures) == self._entrants:
            self.finished.errback(AllFailed([self._failures[i] for i in sorted(self._failures)]))
            return
        best = min(self._successes, default=None)
        if best is not None and (not self._in_order or self._all_failed_before(best)):
            self.finished.callback(self._successes[best])

    def _all_failed_before(self, position: int) -> bool:
        return all(earlier in self._failures for earlier in range(position))


def was_cancelled(failure: Failure) -> bool:
    """Return whether a failure means that the work was cancelled, not that it failed by itself."""
    return failure.check(CancelledError) is not None
