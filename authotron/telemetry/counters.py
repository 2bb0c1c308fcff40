"""Counters and histograms, the parts of a metric: a number for each combination of label values."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from attrs import define, field

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""
Upper bounds of the buckets of histograms, in seconds, which equal those of auth-o-tron, so that
dashboards for auth-o-tron show the same lines.
"""

_MOST_NEW = 256
"""Maximum number of events of one kind whose durations are not sorted into buckets yet."""

Labels = tuple[str, ...]
"""
The label values of one counter, gauge or histogram, in the order of the label names of its family.
"""


@define(eq=False)
class Durations:
    """
    A histogram: the durations of one kind of event, counted in buckets.

    @ivar nanoseconds: the sum of all durations, as an integer. A sum of floats depends on the order
        of its terms, so the sum over all workers could decrease slightly when a worker ends, and
        Prometheus would take the decrease for a restart.
    @ivar bounds: the upper bounds of the buckets of the histogram, in seconds.
    @ivar buckets: the number of measured durations in each bucket of the histogram; the last bucket
        has no upper bound.
    """

    nanoseconds: int = 0
    bounds: Sequence[float] = BOUNDS
    buckets: list[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.buckets = [0] * (len(self.bounds) + 1)


@define(eq=False)
class Tally:
    """
    A tally: the number of events of one kind, and their durations if these are measured.

    The durations of new events are kept in a list and sorted into the buckets many at once, which
    takes a third of the time; L{settle} sorts them before C{number} and C{durations} are read.

    @ivar durations: the histogram of durations, if durations are measured. Tallies that differ only
        in labels that the histogram does not have share one histogram.
    @ivar number: how often the kind of event has happened.
    """

    durations: Durations
    number: int = 0
    _new: list[float] = field(factory=list, init=False)

    def add(self, seconds: float) -> None:
        """Count one event that took C{seconds}."""
        new = self._new
        new.append(seconds)
        if len(new) >= _MOST_NEW:
            self.settle()

    def settle(self) -> None:
        """Add the new events to C{number}, and their durations to C{durations}."""
        durations, new = self.durations, self._new
        self.number += len(new)
        durations.nanoseconds += int(sum(new) * 1e9)
        new.sort()
        below = 0
        for place, bound in enumerate(durations.bounds):
            up_to = bisect_right(new, bound, below)
            durations.buckets[place] += up_to - below
            below = up_to
        durations.buckets[-1] += len(new) - below
        new.clear()

    def take(self, other: Tally) -> None:
        """Add the count and the durations of another tally to this tally."""
        other.settle()
        self.number += other.number
        mine, others = self.durations, other.durations
        mine.buckets = [a + b for a, b in zip(mine.buckets, others.buckets, strict=True)]
        mine.nanoseconds += others.nanoseconds


@define(eq=False)
class Histogram:
    """
    A family of histograms with one name: one histogram for each combination of label values.

    @ivar longest: the upper bound, in seconds, of the last bucket of the histogram that is shown in
        the metrics.
    @ivar bounds: the upper bounds of all buckets of the histogram, in seconds.
    """

    name: str
    about: str
    labels: Sequence[str]
    longest: float = BOUNDS[-1]
    bounds: Sequence[float] = BOUNDS
    values: defaultdict[Labels, Durations] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.values = defaultdict(partial(Durations, bounds=self.bounds))


class _Tallies(dict[Labels, Tally]):
    """
    A dictionary from label values to the tally that has these labels; reading a missing tally
    creates it.
    """

    def __init__(self, labels: Sequence[str], durations: Histogram | None) -> None:
        """
        @param durations: histograms of the durations; the labels of each must be a consecutive part
            of C{labels}.
        """
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
    A family of counters or gauges with one name: one number for each combination of label values.

    @ivar durations: the histograms of the counted events, if their durations are measured.
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
        """
        Report a zero for a combination of label values before the first event, so that alerts
        notice the change from 0 to 1.
        """
        self.values[labels]  # Looking up a tally that does not exist creates it.
