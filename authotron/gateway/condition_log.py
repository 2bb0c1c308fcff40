"""Log events about conditions of rules that cannot be evaluated."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.telemetry.suppression import Suppression


@define(eq=False)
class ConditionLog:
    """
    Counts and logs conditions without a value; repeated log events of the same rule are suppressed.

    @ivar _count: a function that counts a condition without a value, by the name of the rule.
    """

    _clock: IReactorTime
    _count: Callable[[str], None]
    _suppression: Suppression = field(init=False, repr=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._suppression = Suppression(self._clock)

    def failed(self, rule: str, reason: str) -> None:
        """Count and log that the condition of a rule has no value for a request."""
        self._count(rule)
        if (count := self._suppression.count(rule)) is not None:
            self._log.warn(
                "the condition of rule {rule} has no value, so its permissions that allow do not "
                "count, and those that deny do: {reason}",
                rule=rule,
                reason=reason,
                suppressed_count=count,
                event="policy.condition.failed",
            )
