"""Several questions at once: the only place that knows races, cancelling and time limits."""

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
    from typing_extensions import TypeIs  # of Python 3.13

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
Work = Coroutine[Any, Any, T]
AsyncCall = Callable[[], Work[T]]
"""Creates the coroutine that does some work."""

Answer = Union[T, Work[T]]  # noqa: UP007 - of a type variable
"""What a part says of itself, or the work of finding it out."""

Begun = Union[T, Failure, Deferred[T]]  # noqa: UP007 - of a type variable
"""What came of some work, or will."""


class AllFailed(Exception):
    """Nobody succeeded; the reasons are in the order of the entrants."""

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


def waits(outcome: Begun[T]) -> TypeIs[Deferred[T]]:
    """
    Whether it is still to come.

    Nothing that begins here is of a subclass; to ask an abstract class by C{isinstance} takes four
    times as long.
    """
    return type(outcome) is Deferred


def _rest(work: Work[T], waits_for: Any) -> Generator[Any, Any, T]:
    """What is left of a coroutine that has come to its first wait."""
    meter = METER.get()
    began: float | None = None
    while True:
        try:
            try:
                answer = yield waits_for
            except GeneratorExit:  # collected as garbage, perhaps after the coroutine
                work.close()
                raise
            except BaseException as told:  # noqa: BLE001 - the coroutine's to hear, cancellation too
                began = meter.start() if meter is not None else None
                waits_for = work.throw(told)
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


def attempt(
    clock: IReactorTime,
    seconds: float,
    ask: Callable[[A], Answer[T]],
    about: A,
    told: Callable[[T | Failure, float, B], T | Failure],
    of: B,
) -> Begun[T]:
    """
    Begin to C{ask} somebody C{about} something, and cancel it after so many C{seconds}.

    What comes of it, the seconds that it took, and C{of} whom it is, are C{told} to somebody who
    raises nothing and decides what is passed on.
    """
    began = clock.seconds()
    outcome: Begun[T]
    try:
        answer = ask(about)
    except Exception:  # noqa: BLE001 - the failure of this attempt, and of no other
        outcome = Failure()
    else:
        outcome = begin(answer) if isinstance(answer, CoroutineType) else answer  # type: ignore[assignment] # what is left is no coroutine
    if not waits(outcome):
        return told(outcome, clock.seconds() - began, of)
    return _cancel_after(clock, seconds, outcome).addBoth(_told, clock, began, told, of)


def _told(
    outcome: T | Failure,
    clock: IReactorTime,
    began: float,
    told: Callable[[T | Failure, float, B], T | Failure],
    of: B,
) -> T | Failure:
    return told(outcome, clock.seconds() - began, of)


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
    if waits(outcome):
        outcome = _cancel_after(clock, seconds, outcome)
    return await result_of(outcome)


async def result_of(outcome: Begun[T]) -> T:
    """Wait for the result of work that was started, if need be, and return it."""
    if waits(outcome):
        return await outcome
    if isinstance(outcome, Failure):
        outcome.raiseException()
    return outcome


async def to_the_end(work: Work[T], unheard: Callable[[Failure], object]) -> T:
    """
    Wait for C{work} that goes on when the caller no longer waits for it.

    @param unheard: is told of a failure for which no caller waits any more.
    """
    outcome = begin(work)
    if isinstance(outcome, Failure):
        outcome.raiseException()
    if not waits(outcome):
        return outcome
    heard: Deferred[T] = Deferred()

    def ended(result: T | Failure) -> None:
        if not heard.called:
            heard.callback(result)
        elif isinstance(result, Failure):
            unheard(result)

    outcome.addBoth(ended)
    return await heard


async def everyone(works: Sequence[Work[T]]) -> Sequence[T | Failure]:
    """Wait for all of them; each gives its result or its failure."""
    return await gather([begin(work) for work in works])


async def gather(begun: Sequence[Begun[T]]) -> Sequence[T | Failure]:
    """The same for what has begun. Who stops waiting cancels all that still goes on."""
    if none_waits(begun):
        return begun
    running = [each if waits(each) else _fired(each) for each in begun]
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


def none_waits(begun: Sequence[Begun[T]]) -> TypeIs[Sequence[T | Failure]]:
    """Whether there is nothing to wait for, so that a caller may spare itself to L{gather}."""
    for each in begun:  # noqa: SIM110 - a generator takes twice as long
        if type(each) is Deferred:
            return False
    return True


def _fired(outcome: T | Failure) -> Deferred[T]:
    return defer.fail(outcome) if isinstance(outcome, Failure) else defer.succeed(outcome)


async def first_success(
    clock: IReactorTime,
    entrants: Sequence[A],
    ask: Callable[[A], Begun[T]],
    *,
    in_order: bool = False,
) -> T:
    """
    What the first of C{entrants} says who can, when each is asked; the others are cancelled.

    Successes of one turn of the reactor count in the order of C{entrants}. One who succeeds
    without waiting ends the race before later ones are asked.

    @param in_order: accept a success only once every earlier entrant has failed.

    @raise AllFailed: none succeeded, or there were none.
    """
    failures: list[Failure] = []
    rest = iter(entrants)
    for entrant in rest:
        outcome = ask(entrant)
        if waits(outcome):
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
            if waits(outcome):
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
