"""What a run measured, as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import bars
from contest import Contest, spread

LINE = "{:30} {:>10} {:>19} {:>8} {:>19} {:>8} {:>8} {:>8} {:>6}"
HEADINGS = (
    "",
    "requests/s",
    "x first",
    "CPU us",
    "x first (less)",
    "nginx us",
    "p50 ms",
    "p99 ms",
    "MiB",
)


def measurements(contests: Iterable[Contest]) -> Iterator[str]:
    """Yield a line for each entrant, with its ratios to the first entrant of the contest."""
    yield LINE.format(*HEADINGS)
    for contest in contests:
        yield contest.name
        first = next(iter(contest.rounds), "")
        for name in contest.rounds:
            yield LINE.format(f"  {name}", *_columns(contest, name, first)) + _further(
                contest, name
            )


def _columns(contest: Contest, name: str, first: str) -> Iterator[str]:
    yield _number(contest.median(name, "rate"), 0)
    yield _ratios(contest.ratios(name, first))
    yield _number(contest.median(name, "microseconds"), 1)
    yield _ratios(contest.ratios(first, name, "microseconds"))
    yield _number(contest.median(name, "proxy"), 1)
    for figure in ("p50", "p99"):
        yield _number(contest.median(name, figure), 2)
    yield _number(contest.median(name, "memory"), 1)


def _further(contest: Contest, name: str) -> str:
    """Return the figures that have no column."""
    values = {
        each: contest.median(name, each)
        for each in ("start", "share", "sleeps", "fair", "calls", "handovers", "busy", "client")
    }
    measured = {each: value for each, value in values.items() if not math.isnan(value)}
    return "".join(f" {each} {value:.2f}" for each, value in measured.items())


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def _ratios(values: list[float]) -> str:
    return str(spread(values)) if values else "-"


def verdicts(contests: Iterable[Contest]) -> Iterator[str]:
    """Yield a line for each bar: the value that was reached, the bar, and whether it is met."""
    line = "{:24} {:58} {:>20} {:>9}  {}"
    yield line.format("contest", "bar", "median (min-max)", "wanted", "")
    for bar, reached in bars.rows(contests):
        wanted = f"{bar.sign} {bar.wanted:g}"
        if reached is None:
            yield line.format(bar.contest, bar.about, "-", wanted, "not measured")
        else:
            word = "met" if bar.is_met(reached) else "MISSED"
            yield line.format(bar.contest, bar.about, str(reached), wanted, word)
