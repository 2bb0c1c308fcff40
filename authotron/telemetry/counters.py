"""Plain numbers by the values of their labels: how often a thing happened, how long it took."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from attrs import define, field

BOUNDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper ends of the buckets of every duration, in seconds."""

Labels = tuple[str, ...]


@define(eq=False)
class Durations:
    """
    How long something took, in buckets.

    @ivar nanoseconds: all together, whole: a sum of fractions depends on the order, and one that
        is less by a hair, when a worker ends, is a restart to Prometheus.
    """

    nanoseconds: int = 0
    buckets: list[int] = field(factory=lambda: [0] * (len(BOUNDS) + 1))


@define(eq=False)
class Tally:
    """
    How many there are of something, and how long they took, if that is measured.

    @ivar durations: shared with what differs only in labels that durations do not have.
    """

    durations: Durations
    number: int = 0

    def add(self, seconds: float) -> None:
        """One more, which took so long."""
        self.number += 1
        self.durations.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.durations.nanoseconds += int(seconds * 1e9)


@define(eq=False)
class Histogram:
    """Durations of one name, by the values of its labels."""

    name: str
    about: str
    labels: Sequence[str]
    values: defaultdict[Labels, Durations] = field(
        factory=lambda: defaultdict(Durations), init=False
    )


class _Tallies(dict[Labels, Tally]):
    """Tallies by the values of their labels; each begins when it is first asked for."""

    def __init__(self, labels: Sequence[str], durations: Histogram | None) -> None:
        """@param durations: they have some of the C{labels}, which stand together."""
        super().__init__()
        self._durations = durations
        if durations:
            first = labels.index(durations.labels[0])
            self._timed = slice(first, first + len(durations.labels))

    def __missing__(self, labels: Labels) -> Tally:
        known = self._durations
        tally = Tally(known.values[labels[self._timed]] if known else Durations())
        return self.setdefault(labels, tally)


@define(eq=False)
class Counts:
    """
    Numbers of one name, by the values of its labels.

    @ivar durations: how long what is counted took, if that is measured.
    """

    name: str
    about: str
    labels: Sequence[str]
    is_gauge: bool = False
    durations: Histogram | None = None
    values: _Tallies = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.values = _Tallies(self.labels, self.durations)

    def show(self, *labels: str) -> None:
        """Show a zero, so that an alert sees the first one."""
        self.values[labels]  # it begins by being asked for
