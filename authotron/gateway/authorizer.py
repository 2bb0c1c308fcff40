"""
Asks the authorizer, a service that must also allow each request which the policy allows.

The answer of the authorizer is true or false, or C{None} if the authorizer is unavailable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import result_of, run
from authotron.model.errors import TimedOut, Unavailable
from authotron.plugin.evaluation import Evaluation
from authotron.plugin.interfaces import IAuthorizer
from authotron.telemetry.suppression import Suppression

Verdict = bool | None
"""Whether the authorizer allows a request, or C{None} if the authorizer is unavailable."""


_Outcome = bool | Failure
"""The answer of the authorizer, or the L{Failure} of the call."""


class AuthorizerObserver(Protocol):
    """The interface of the metrics that count the answers of the authorizer."""

    def authorizer_answered(self, authorizer: IAuthorizer, result: str, seconds: float, /) -> None:
        """Count an answer of the authorizer."""


class WrongVerdict(TypeError):
    """An authorizer plugin returned a value that is neither true nor false."""


@define(eq=False)
class Authorizer:
    """
    Asks the authorizer with a time limit, counts its answers, and logs its outages.

    @ivar timeout: maximum number of seconds that one call of the authorizer may take.
    @ivar outage: why the last call of the authorizer got no answer; empty if the call was answered.
    """

    plugin: IAuthorizer
    _clock: IReactorTime
    timeout: float
    _observer: AuthorizerObserver
    outage: str = field(default="", init=False)
    _suppression: Suppression = field(init=False, repr=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._suppression = Suppression(self._clock)

    async def verdict(self, evaluations: Sequence[Evaluation]) -> Verdict:
        """
        Return whether the authorizer allows a request. The authorizer is asked about each of
        several identities of the client, and must allow all of them.

        @raise CancelledError: the client no longer waits.
        """
        for each in evaluations:
            allows = await self._ask(each)
            if allows is not True:
                return allows
        return True

    async def _ask(self, evaluation: Evaluation) -> Verdict:
        started = run(self._clock, self.timeout, self.plugin.allows, evaluation, self._done, None)
        try:
            return await result_of(started)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - _done has logged the failure, which must not allow a request
            return None

    def _done(self, outcome: _Outcome, took: float, _context: None) -> _Outcome:
        if not isinstance(outcome, bool | Failure):
            outcome = Failure(WrongVerdict(type(outcome).__name__))
        if isinstance(outcome, bool):
            self.outage = ""
            self._observer.authorizer_answered(self.plugin, "allow" if outcome else "deny", took)
            return outcome
        if outcome.check(CancelledError):
            return outcome
        late = outcome.check(TimedOut) is not None
        self._observer.authorizer_answered(self.plugin, "timeout" if late else "error", took)
        self._log_outage(outcome)
        return outcome

    def _log_outage(self, failure: Failure) -> None:
        is_outage = failure.check(Unavailable)
        self.outage = str(failure.value) if is_outage else "broken"
        count = self._suppression.count("outage" if is_outage else "broken")
        if count is None:
            return
        if is_outage:
            self._log.warn(
                "authorizer {authorizer} is unavailable, requests are answered with 503: {reason}",
                authorizer=self.plugin.name,
                reason=str(failure.value),
                suppressed_count=count,
                event="policy.authorizer.unavailable",
            )
        else:
            self._log.failure(
                "authorizer {authorizer} is broken, requests are answered with 503",
                failure,
                authorizer=self.plugin.name,
                suppressed_count=count,
                event="policy.authorizer.broken",
            )
