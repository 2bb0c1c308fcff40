"""The bars: what the ratios and differences of a run must be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from attrs import frozen
from contest import Contest, Spread, spread

Values = Callable[[Contest], list[float]]

BY_GET, BY_HEAD = "nginx, GET", "nginx, HEAD"
COLD, NEW_CREDENTIALS = "direct, cold", "new credentials"
MANY = "100,000 credentials"
FACTS = "the facts of a request"
BURSTS = "bursts of connections"
POLICIES, POLICIES_NEW, POLICIES_COLD = "policies", "policies, new URIs", "policies, cold"
REVOCATIONS, REVOCATIONS_COLD = "revocations", "revocations, cold"
NO_REVOCATIONS, MANY_REVOCATIONS = "none", "10,000"
NO_POLICIES, SOME_POLICIES, MANY_POLICIES = "none", "1,000", "100,000"


@frozen
class Bar:
    """
    What the median of some values of a contest must be.

    @ivar entrants: those that must have been measured.
    @ivar is_least: whether C{wanted} is the least or the greatest good value.
    """

    contest: str
    about: str
    entrants: tuple[str, ...]
    values: Values
    wanted: float
    is_least: bool = True

    def reached(self, contests: Mapping[str, Contest]) -> Spread | None:
        """Return the values of a run, or C{None} if they were not measured."""
        contest = contests.get(self.contest)
        if contest is None or not contest.has(*self.entrants):
            return None
        return spread(self.values(contest))

    def is_met(self, reached: Spread) -> bool:
        """Return whether the median is good."""
        if self.is_least:
            return reached.median >= self.wanted
        return reached.median <= self.wanted

    @property
    def sign(self) -> str:
        """The relation between a good value and the bar."""
        return ">=" if self.is_least else "<="


def times_the_rate(contest: str, mine: str, other: str, wanted: float) -> Bar:
    """Require so many times the requests per second of another entrant."""
    about = f"{mine}: requests/s, x {other}"
    return Bar(contest, about, (mine, other), lambda each: each.ratios(mine, other), wanted)


def times_as_cheap(contest: str, mine: str, other: str, wanted: float) -> Bar:
    """Require so many times less processor time per request than another entrant needs."""

    def values(each: Contest) -> list[float]:
        return each.ratios(other, mine, "microseconds")

    about = f"{mine}: processor time, x {other} (above 1: less)"
    return Bar(contest, about, (mine, other), values, wanted)


def at_most_more(contest: str, mine: str, other: str, figure: str, unit: str, most: float) -> Bar:
    """Require that a figure is at most so much above that of another entrant."""

    def values(each: Contest) -> list[float]:
        return each.differences(mine, other, figure)

    about = f"{mine}: {figure}, {unit} more than {other}"
    return Bar(contest, about, (mine, other), values, most, is_least=False)


def figure_of(
    contest: str, about: str, mine: str, figure: str, wanted: float, *, is_least: bool
) -> Bar:
    """Require a value of one figure of one entrant."""
    return Bar(contest, about, (mine,), lambda each: each.of(mine, figure), wanted, is_least)


def _workers(name: str) -> Iterator[Bar]:
    one, two = f"{name}, 1", f"{name}, 2"
    yield Bar(
        "workers",
        f"{name}, two workers: processor time, x one worker",
        (one, two),
        lambda each: each.ratios(two, one, "microseconds"),
        1.1,
        is_least=False,
    )
    about = f"{name}, two workers: smallest share of the requests"
    yield figure_of("workers", about, two, "share", 0.35, is_least=True)
    for kind in ("TCP", "UNIX"):
        about = f"{name}, {kind}: share of the bursts in which each worker gets 35 to 65 %"
        yield figure_of(BURSTS, about, f"{name}, {kind}", "fair", 0.95, is_least=True)


def _slowest_percent(each: Contest) -> list[float]:
    pairs = zip(each.of("half load", "p99"), each.of("half load", "p50"), strict=True)
    return [slow / usual for slow, usual in pairs]


BARS = (
    times_the_rate("direct, warm", "uvloop", "original", 1.6),
    times_the_rate("direct, warm", "uvloop", "Klein", 20),
    times_as_cheap("direct, warm", "uvloop", "Klein", 20),
    times_the_rate("direct, warm", "uvloop", "FastAPI", 10),
    times_the_rate("direct, warm", "epoll", "original", 1.3),
    times_the_rate(BY_GET, "uvloop, UNIX", "original", 2.7),
    times_the_rate(BY_GET, "uvloop, UNIX", "no authentication", 0.56),
    times_the_rate(BY_GET, "uvloop, TCP", "original", 2.4),
    times_the_rate(BY_GET, "uvloop, TCP", "no authentication", 0.52),
    times_as_cheap("heads that never repeat", "epoll", "before", 0.92),
    times_as_cheap("heads that never repeat", "uvloop", "before", 1.1),
    times_the_rate(FACTS, "by contract", "without", 0.85),
    *(
        times_the_rate(name, count, NO_POLICIES, wanted)
        for name in (POLICIES, POLICIES_NEW)
        for count, wanted in ((SOME_POLICIES, 0.85), (MANY_POLICIES, 0.75))
    ),
    times_the_rate(POLICIES_COLD, SOME_POLICIES, NO_POLICIES, 0.85),
    times_the_rate(REVOCATIONS, MANY_REVOCATIONS, NO_REVOCATIONS, 0.9),
    times_as_cheap(REVOCATIONS, MANY_REVOCATIONS, NO_REVOCATIONS, 0.9),
    times_as_cheap("new connections", "uvloop", "before", 1.2),
    times_as_cheap(COLD, "epoll", "before", 0.97),
    times_as_cheap(COLD, "uvloop", "before", 0.97),
    times_the_rate(COLD, "epoll", "Klein", 3),
    *(
        times_as_cheap(NEW_CREDENTIALS, f"{kind}, {name}", f"{kind}, before", 0.97)
        for kind in ("JWT", "API token")
        for name in ("epoll", "uvloop")
    ),
    *_workers("epoll"),
    *_workers("uvloop"),
    at_most_more("start", "uvloop", "before", "start", "ms", 60),
    at_most_more("start", "epoll", "before", "start", "ms", 10),
    at_most_more("start", "uvloop", "before", "memory", "MiB", 16),
    at_most_more("start", "epoll", "before", "memory", "MiB", 0.5),
    at_most_more(MANY, "uvloop", "before", "memory", "MiB", 16),
    times_as_cheap("API tokens", "limited, uvloop", "limited, before", 1),
    times_as_cheap("API tokens", "limited, epoll", "limited, before", 1),
    figure_of("API tokens", "handed over", "limited, uvloop", "handovers", 0, is_least=False),
    Bar("half load", "p99 / p50", ("half load",), _slowest_percent, 5, is_least=False),
)
"""
All bars. Start and memory without uvloop must not grow; the tolerance of 10 ms and 0.5 MiB is what
two runs of one version differ by.
"""


def rows(contests: Iterable[Contest]) -> Iterator[tuple[Bar, Spread | None]]:
    """Yield each bar with the values of a run."""
    known = {each.name: each for each in contests}
    for bar in BARS:
        yield bar, bar.reached(known)
