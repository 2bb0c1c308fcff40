"""The version and the age of the policies from the token store, for operators."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field


@define(eq=False)
class PolicyStatus:
    """
    The version and the age of the policies from the token store that this process applies.

    @ivar version: the version of the policies in use, or C{None} while no policies are known.
    @ivar confirmed: the time, in seconds since the epoch, at which the token store was last seen to
        contain the version in use, or at which the process began to read the policies.
    @ivar problem: why the version of the policies in use may differ from the version in the token
        store, or C{None} if it does not.
    """

    _now: Callable[[], float]
    version: int | None = None
    confirmed: float = field(init=False)
    problem: str | None = None

    def __attrs_post_init__(self) -> None:
        self.confirm()

    def confirm(self) -> None:
        """Set the age to zero, because the token store has the version in use at this moment."""
        self.confirmed = self._now()

    @property
    def age(self) -> float:
        """
        Seconds since the token store was last seen to contain the version of the policies that is
        in use.
        """
        return max(0.0, self._now() - self.confirmed)

    def as_json(self) -> dict[str, object]:
        """Return the part of the JSON reply to C{GET /ready} that describes the policies."""
        found: dict[str, object] = {"version": self.version, "age": round(self.age, 1)}
        return found if self.problem is None else {**found, "problem": self.problem}
