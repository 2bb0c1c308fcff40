"""Measure several servers in turns, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

from attrs import define, field
from load import Figures

Measure = Callable[[float], Figures]
"""A function that measures for so many seconds."""


@define
class Contest:
    """
    Entrants that are measured in turns; the first one is what the others are compared with.

    @ivar rounds: the figures of each entrant, round by round.
    """

    name: str
    rounds: dict[str, list[Figures]] = field(factory=dict)

    def run(self, entrants: dict[str, Measure], count: int, seconds: float) -> None:
        """
        Measure C{count} more rounds, after one round of one second that is not counted.

        @param entrants: what is measured in each round; it may be new processes each time.
        """
        for turn in range(count + 1):
            for name, measure in entrants.items():
                figures = measure(seconds if turn else 1)
                if turn:
                    self.rounds.setdefault(name, []).append(figures)
                    _report(self.name, name, figures)

    def has(self, *entrants: str) -> bool:
        """Return whether all these entrants were measured."""
        return set(entrants) <= set(self.rounds)

    def of(self, entrant: str, figure: str) -> list[float]:
        """Return a figure of all rounds."""
        return [each[figure] for each in self.rounds[entrant] if figure in each]

    def median(self, entrant: str, figure: str) -> float:
        """Return the median over the rounds, or not a number if the figure was not measured."""
        return statistics.median(self.of(entrant, figure) or [float("nan")])

    def ratios(self, mine: str, other: str, figure: str = "rate") -> list[float]:
        """Return how many times more one entrant has than another, round by round."""
        pairs = zip(self.of(mine, figure), self.of(other, figure), strict=True)
        return [one / (another or float("nan")) for one, another in pairs]

    def differences(self, mine: str, other: str, figure: str) -> list[float]:
        """Return how much more one entrant has than another, round by round."""
        pairs = zip(self.of(mine, figure), self.of(other, figure), strict=True)
        return [one - another for one, another in pairs]


def _report(contest: str, entrant: str, figures: Figures) -> None:
    words = ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
    print(f"{contest}: {entrant}: {words}", file=sys.stderr)


@define
class Spread:
    """The median of several rounds, with the least and the greatest."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.greatest:.2f})"


def spread(values: list[float]) -> Spread:
    if not values:
        return Spread(*[float("nan")] * 3)
    return Spread(statistics.median(values), min(values), max(values))
