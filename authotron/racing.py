"""Several questions at once: the only place that knows races, cancelling and time limits."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from itertools import chain
from typing import Any, Generic, NoReturn, TypeVar, Union

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from authotron.errors import TimedOut

T = TypeVar("T")
Work = Coroutine[Any, Any, T]
Begun = Union[T, Failure, Deferred[T]]  # noqa: UP007 - of a type variable
"""What came of some work, or will."""


class AllFailed(Exception):
    """Nobody succeeded; the reasons are in the order of the attempts."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__()
        self.reasons = tuple(failure.value for failure in failures)


def begin(work: Work[T]) -> Begun[T]:
    """
    Begin C{work}: what came of it if it need not wait, else a Deferred.

    What judges by itself is done at once, and costs no Deferred.
    """
    try:
        waits_for = work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    except Exception:  # noqa: BLE001 - whatever it is, it is kept
        return Failure()
    return Deferred.fromCoroutine(_rest(work, waits_for))


def _rest(work: Work[T], waits_for: Any) -> Generator[Any, Any, T]:
    """What is left of a coroutine that has come to its first wait."""
    while True:
        try:
            try:
                answer = yield waits_for
            except BaseException as told:  # noqa: BLE001 - the coroutine's to hear, cancellation too
                waits_for = work.throw(told)
            else:
                waits_for = work.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result


def attempt(
    clock: IReactorTime,
    seconds: float,
    ask: Callable[[], Work[T]],
    told: Callable[[T | Failure], T | Failure],
) -> Begun[T]:
    """
    Begin what C{ask} makes, cancel it after C{seconds}, and let what comes of it pass through
    C{told}, which raises nothing.
    """
    try:
        work = ask()
    except Exception:  # noqa: BLE001 - the failure of this attempt, and of no other
        return told(Failure())
    outcome = begin(work)
    if isinstance(outcome, Deferred):
        return _cancel_after(clock, seconds, outcome).addBoth(told)
    return told(outcome)


def _cancel_after(clock: IReactorTime, seconds: float, asked: Deferred[T]) -> Deferred[T]:
    return asked.addTimeout(seconds, clock).addErrback(_timed_out, seconds)


def _timed_out(failure: Failure, seconds: float) -> NoReturn:
    failure.trap(defer.TimeoutError)
    raise TimedOut(f"no answer within {seconds:g} s") from None


async def within(clock: IReactorTime, seconds: float, work: Work[T]) -> T:
    """
    Wait for C{work}, but not for ever.

    @raise TimedOut: C{seconds} have passed; the work was cancelled.
    """
    outcome = begin(work)
    if isinstance(outcome, Deferred):
        return await _cancel_after(clock, seconds, outcome)
    if isinstance(outcome, Failure):
        outcome.raiseException()
    return outcome


async def everyone(works: Sequence[Work[T]]) -> list[T | Failure]:
    """Wait for all of them; each gives its result or its failure."""
    return await gather([begin(work) for work in works])


async def gather(begun: Sequence[Begun[T]]) -> list[T | Failure]:
    """The same for what has begun. Who stops waiting cancels all that still goes on."""
    at_once = [each for each in begun if not isinstance(each, Deferred)]
    if len(at_once) == len(begun):
        return at_once
    running = [each if isinstance(each, Deferred) else _fired(each) for each in begun]
    finished: Deferred[list[T | Failure]] = Deferred()

    def all_ended(outcomes: Any) -> None:
        # A list of Deferreds that is itself cancelled succeeds, with failures in it.
        if not finished.called:
            finished.callback([outcome for _, outcome in outcomes])

    DeferredList(running, consumeErrors=True).addCallback(all_ended)
    try:
        return await finished
    finally:
        for each in running:
            each.cancel()


def _fired(outcome: T | Failure) -> Deferred[T]:
    return defer.fail(outcome) if isinstance(outcome, Failure) else defer.succeed(outcome)


async def first_success(
    clock: IReactorTime,
    attempts: Sequence[Callable[[], Begun[T]]],
    *,
    in_order: bool = False,
) -> T:
    """
    The result of the first attempt that succeeds; the others are cancelled.

    Successes of one turn of the reactor count in the order of C{attempts}. An attempt that
    succeeds without waiting ends the race before later ones begin.

    @param in_order: accept a success only once every earlier attempt has failed.

    @raise AllFailed: none succeeded, or there were none.
    """
    failures: list[Failure] = []
    rest = iter(attempts)
    for make in rest:
        outcome = make()
        if isinstance(outcome, Deferred):
            break
        if not isinstance(outcome, Failure):
            return outcome
        failures.append(outcome)
    else:
        raise AllFailed(failures)
    race = _Race[T](clock, in_order, len(attempts), dict(enumerate(failures)))
    try:
        race.start(chain([outcome], (make() for make in rest)))
        return await race.finished
    finally:
        race.stop()


@define(eq=False)
class _Race(Generic[T]):
    """Who has come in so far, once there is somebody to wait for."""

    _clock: IReactorTime
    _in_order: bool
    _entrants: int
    _failures: dict[int, Failure]
    finished: Deferred[T] = field(factory=Deferred, init=False)
    _running: list[Deferred[None]] = field(factory=list, init=False)
    _successes: dict[int, T] = field(factory=dict, init=False)
    _starting: bool = field(default=True, init=False)

    def start(self, others: Iterable[Begun[T]]) -> None:
        for place, outcome in enumerate(others, len(self._failures)):
            if isinstance(outcome, Deferred):
                self._running.append(
                    outcome.addCallbacks(
                        self._succeeded, self._failed, callbackArgs=(place,), errbackArgs=(place,)
                    )
                )
            elif isinstance(outcome, Failure):
                self._failed(outcome, place)
            else:
                self._succeeded(outcome, place)
            self._settle()
            if self.finished.called:
                return
        self._starting = False

    def stop(self) -> None:
        for each in self._running:
            each.cancel()

    def _succeeded(self, result: T, place: int) -> None:
        self._successes[place] = result
        if not self._starting:  # others of this turn may still come in
            self._clock.callLater(0, self._settle)

    def _failed(self, failure: Failure, place: int) -> None:
        self._failures[place] = failure
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

    def _all_failed_before(self, place: int) -> bool:
        return all(earlier in self._failures for earlier in range(place))


def was_cancelled(failure: Failure) -> bool:
    """Whether the work was called off, which is no answer."""
    return failure.check(CancelledError) is not None
