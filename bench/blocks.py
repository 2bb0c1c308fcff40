"""The tables and sentences of docs/performance.md that contain figures of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import bars
from behind_nginx import UNPROTECTED
from contest import Contest, spread
from results import Results

NAMES = {
    "Klein": "the same work in plain Klein",
    "FastAPI": "the same work in FastAPI and uvicorn",
    "original": "auth-o-tron in Rust",
    "epoll": "authotron on epoll",
    "uvloop": "authotron on uvloop",
}

Block = Callable[[Results], Iterable[str]]
"""A function that returns the lines of one block of the page."""


def find(results: Results, name: str) -> Contest:
    """Return a contest of the run."""
    return next(each for each in results.contests if each.name == name)


def rate(contest: Contest, entrant: str) -> str:
    """Return the requests per second of an entrant."""
    return f"{contest.median(entrant, 'rate'):,.0f}"


def times(contest: Contest, mine: str, other: str) -> str:
    """Return a ratio of rates, or nothing for an entrant that was not measured."""
    return f"{spread(contest.ratios(mine, other)).median:.2f}" if contest.has(mine, other) else ""


def times_cheaper(contest: Contest, mine: str, other: str) -> str:
    """Return how many times less processor time an entrant needs than another one."""
    return f"{spread(contest.ratios(other, mine, 'microseconds')).median:.2f}"


def microseconds(contest: Contest, entrant: str, figure: str = "microseconds") -> str:
    """Return processor time, of the server or (C{proxy}) of nginx."""
    value = contest.median(entrant, figure)
    return f"{value:.0f} us" if value >= 100 else f"{value:.1f} us"


def table(headings: Iterable[str], lines: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield a table in Markdown; all columns but the first hold numbers."""
    first, *others = headings
    yield _line([first, *others])
    yield f"|---|{'---:|' * len(others)}"
    for line in lines:
        yield _line(line)


def _line(cells: Iterable[str]) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def machine(results: Results) -> Iterator[str]:
    """State where, when and how was measured."""
    run = results.run
    rounds = [len(each) for contest in results.contests for each in contest.rounds.values()]
    yield (
        f"Measured on {run['date']} by `make bench`: {run['cores']} virtual cores of an "
        f"{run['processor']}, Linux {run['kernel'].split('-')[0]}, Python {run['python']} of "
        f"Debian 12, nginx 1.22.1; medians of {min(rounds)} to {max(rounds)} rounds. The speed of "
        "the machine itself varies, so compare the ratios, which are taken within a round."
    )


def direct(results: Results) -> Iterator[str]:
    """Compare all servers without a proxy."""
    contest = find(results, "direct, warm")
    yield from table(
        (
            "",
            "requests/s",
            "x Klein",
            "x the original",
            "processor time of a request",
            "x Klein by processor time",
        ),
        (
            (
                NAMES[name],
                rate(contest, name),
                times(contest, name, "Klein"),
                times(contest, name, "original"),
                microseconds(contest, name),
                times_cheaper(contest, name, "Klein"),
            )
            for name in NAMES
            if contest.has(name)
        ),
    )


def limit(results: Results) -> Iterator[str]:
    """State which core is full when authotron is measured without a proxy."""
    contest = find(results, "direct, warm")
    last = list(contest.rounds)[-1]
    if not contest.of(last, "client"):
        return
    busy, client = (contest.median(last, each) * 100 for each in ("busy", "client"))
    yield (
        f"With authotron on {last} the core of the server was {busy:.0f} % busy, and the core of "
        f"the load generator {client:.0f} %. Requests per second are limited by the core that is "
        "full; processor time does not depend on the load generator."
    )


def nginx_by_get(results: Results) -> Iterator[str]:
    """Compare all servers behind nginx that asks by GET."""
    return _behind_nginx(find(results, bars.BY_GET))


def nginx_by_head(results: Results) -> Iterator[str]:
    """Compare all servers behind nginx that asks by HEAD."""
    return _behind_nginx(find(results, bars.BY_HEAD))


def _behind_nginx(contest: Contest) -> Iterator[str]:
    names = {
        UNPROTECTED: "no authentication",
        **{name: NAMES[name] for name in ("Klein", "FastAPI", "original")},
        **{
            f"{loop}, {kind}": f"authotron on {loop}, {way}"
            for loop in ("epoll", "uvloop")
            for kind, way in (("TCP", "TCP"), ("UNIX", "UNIX socket"))
        },
    }
    yield from table(
        ("", "requests/s", "x no authentication", "x the original", "nginx's time"),
        (
            (
                label,
                rate(contest, name),
                times(contest, name, UNPROTECTED),
                times(contest, name, "original"),
                microseconds(contest, name, "proxy"),
            )
            for name, label in names.items()
            if contest.has(name)
        ),
    )


def example(results: Results) -> Iterator[str]:
    """Compare pools, TCP and UNIX sockets with the shipped example."""
    contest = find(results, "nginx, the shipped example")
    names = {
        UNPROTECTED: "no authentication",
        **{
            f"keepalive {pool}, {kind}": f"authotron, `keepalive {pool}`, {way}"
            for pool in (32, 128)
            for kind, way in (("TCP", "TCP"), ("UNIX", "UNIX socket"))
        },
        "subrequests cached": "authotron, `keepalive 32`, TCP, subrequests cached by nginx",
        "original": NAMES["original"],
        "Klein": NAMES["Klein"],
        "FastAPI": NAMES["FastAPI"],
    }
    yield from table(
        ("", "requests/s", "x no authentication", "nginx's time", "the server's time"),
        (
            (
                label,
                rate(contest, name),
                times(contest, name, UNPROTECTED),
                microseconds(contest, name, "proxy"),
                "" if name == UNPROTECTED else microseconds(contest, name),
            )
            for name, label in names.items()
            if contest.has(name)
        ),
    )


def requests(results: Results) -> Iterator[str]:
    """Compare the processor time of kinds of requests."""
    credentials = find(results, bars.NEW_CREDENTIALS)
    kinds = {
        "a cached decision, the same head each time": "direct, warm",
        "a cached decision, a new `X-Request-ID` each time": "a new X-Request-ID each time",
        "a cached decision, 13 fields, a new URI each time": "heads that never repeat",
        "a cached decision, a new connection each time": "new connections",
        "a password, no cached decision": bars.COLD,
    }
    lines = [
        [label, *_times_of(find(results, name), ("epoll", "uvloop", "original"))]
        for label, name in kinds.items()
    ]
    for label, kind in (("a JWT", "JWT"), ("an API token", "API token")):
        names = (f"{kind}, epoll", f"{kind}, uvloop", "")
        lines.append([f"{label}, no cached decision", *_times_of(credentials, names)])
    yield from table(("processor time of a request", "epoll", "uvloop", "the original"), lines)


def _times_of(contest: Contest, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield microseconds(contest, name) if contest.has(name) else ""


PARTS = {
    "gateway": "the decision: cache, providers, augmenters, limits of identities (`gateway`)",
    "the reactor": "Twisted: sending, receiving, the event loop",
    "web": "parsing the request, building the answer (`web`)",
    "telemetry": "metrics and events (`telemetry`)",
    "model": "credentials and identities (`model`)",
    "jose": "the JWT: claims, JSON, base64, HMAC (`jose`)",
    "concurrency": "timeouts, single flights, cancellation (`concurrency`)",
}


def cold(results: Results) -> Iterator[str]:
    """Show where the processor time of a request without a cached decision goes."""
    contest = find(results, "cold, shares")
    lines = [
        [label, f"{contest.median(part, 'share') * 100:.0f} %", _calls(contest, part)]
        for part, label in sorted(PARTS.items(), key=lambda each: -contest.median(each[0], "share"))
    ]
    rest = 1 - sum(contest.median(part, "share") for part in PARTS)
    lines.append(["everything else", f"{max(0, rest) * 100:.0f} %", ""])
    yield from table(("", "share", "calls"), lines)


def _calls(contest: Contest, part: str) -> str:
    return f"{contest.median(part, 'calls'):.0f}"


def further(results: Results) -> Iterator[str]:
    """State figures of single contests."""
    half, many = find(results, "half load"), find(results, bars.MANY)
    start, odd = find(results, "start"), find(results, "one odd request in a hundred")
    cached, limited = find(results, "cached credentials"), find(results, "API tokens")
    p50, p99 = half.median("half load", "p50"), half.median("half load", "p99")
    yield (
        f"* At half of the maximum load 50 % of the answers came within {p50:.2f} ms, and 99 % "
        f"within {p99:.2f} ms."
    )
    for name in ("epoll", "uvloop"):
        if start.has(name):
            yield (
                f"* On {name} a process gives its first answer {start.median(name, 'start'):.0f} "
                f"ms after it was started, and needs {start.median(name, 'memory'):.0f} MiB."
            )
    last = list(many.rounds)[-1]
    yield (
        f"* With the cached decisions about {100_000:,} JWTs of as many users, a process on {last} "
        f"needs {many.median(last, 'memory'):.0f} MiB."
    )
    yield (
        f"* A cached decision about a JWT or an API token costs as much as one about a password: "
        f"{microseconds(cached, 'JWT')}, {microseconds(cached, 'API tokens')} and "
        f"{microseconds(cached, 'passwords')} of processor time."
    )
    yield (
        "* API tokens that are limited to hosts or networks take the fast path, too. The "
        f"limits are checked for each request: {microseconds(limited, f'limited, {last}')} instead "
        f"of {microseconds(limited, f'not limited, {last}')}."
    )
    yield (
        "* If one request in a hundred takes the slow path, throughput is "
        f"{times(odd, 'one in a hundred', 'none')} of what it is otherwise."
    )


def policies(results: Results) -> Iterator[str]:
    """Compare gateways without policies, with 1,000 and with 100,000."""
    kinds = {
        "a cached decision, a URI that was sent before": bars.POLICIES,
        "a cached decision, a new URI": bars.POLICIES_NEW,
        "a password, no cached decision": bars.POLICIES_COLD,
    }
    counts = (bars.NO_POLICIES, bars.SOME_POLICIES, bars.MANY_POLICIES)
    yield from table(
        ("processor time of a request", "no policies", "1,000 policies", "100,000 policies"),
        ([label, *_with_policies(find(results, name), counts)] for label, name in kinds.items()),
    )
    warm = find(results, bars.POLICIES)
    more = warm.median(bars.MANY_POLICIES, "memory") - warm.median(bars.NO_POLICIES, "memory")
    yield ""
    yield (
        "In brackets: the throughput, compared with the same gateway without policies. A process "
        f"with 100,000 policies of two permissions each takes {more:.0f} MiB more, which is "
        f"{more * 1024 / 100_000:.1f} KiB for each policy."
    )


def _with_policies(contest: Contest, counts: Iterable[str]) -> Iterator[str]:
    """Yield the processor time of a request with some numbers of policies, as far as measured."""
    for count in counts:
        if not contest.has(count):
            yield ""
        elif count == bars.NO_POLICIES:
            yield microseconds(contest, count)
        else:
            ratio = times(contest, count, bars.NO_POLICIES)
            yield f"{microseconds(contest, count)} ({ratio})"


def revocations(results: Results) -> Iterator[str]:
    """Compare a gateway without revocations with one that has 10,000."""
    kinds = {
        "a JWT, a cached decision": bars.REVOCATIONS,
        "a JWT, no cached decision": bars.REVOCATIONS_COLD,
    }
    none, many = bars.NO_REVOCATIONS, bars.MANY_REVOCATIONS
    yield from table(
        ("10,000 revocations and 100 expressions, x without", "requests/s", "processor time"),
        (
            (label, times(contest, many, none), _times_dearer(contest, many, none))
            for label, name in kinds.items()
            for contest in [find(results, name)]
        ),
    )


LOADS = {
    "1": "`workers: 1`, one wrk",
    "2": "`workers: 2`, two wrk",
    "2, one wrk": "`workers: 2`, one wrk",
}
"""The entrants of the contest of workers, without the event loop, and their names on the page."""


def workers(results: Results) -> Iterator[str]:
    """Compare one worker with two, under twice the load and with one wrk."""
    contest = find(results, "workers")
    yield from table(
        (
            "",
            "requests/s",
            "x one worker",
            "processor time of a request",
            "x one worker by processor time",
            "waits per 100 requests",
            "smallest share",
            "even bursts",
        ),
        (
            (
                f"authotron on {name}, {words}",
                rate(contest, f"{name}, {load}"),
                times(contest, f"{name}, {load}", f"{name}, 1"),
                microseconds(contest, f"{name}, {load}"),
                _times_dearer(contest, f"{name}, {load}", f"{name}, 1"),
                f"{contest.median(f'{name}, {load}', 'sleeps') * 100:.0f}",
                f"{contest.median(f'{name}, 2', 'share') * 100:.0f} %" if load == "2" else "",
                _even_bursts(results, name) if load == "2" else "",
            )
            for name in ("epoll", "uvloop")
            for load, words in LOADS.items()
            if contest.has(f"{name}, {load}")
        ),
    )


def _times_dearer(contest: Contest, mine: str, other: str) -> str:
    """Return how many times more processor time an entrant needs than another one."""
    return f"{spread(contest.ratios(mine, other, 'microseconds')).median:.2f}"


def _even_bursts(results: Results, name: str) -> str:
    """Return the share of the bursts, over TCP and UNIX sockets, that are distributed evenly."""
    for contest in results.contests:
        if contest.name == bars.BURSTS:
            shares = [contest.median(f"{name}, {kind}", "fair") for kind in ("TCP", "UNIX")]
            return " / ".join(f"{each * 100:.0f} %" for each in shares)
    return ""


def in_words(results: Results) -> Iterator[str]:
    """State the most important ratios in two sentences."""
    warm, by_get, by_head = (
        find(results, name) for name in ("direct, warm", bars.BY_GET, bars.BY_HEAD)
    )
    last = list(warm.rounds)[-1]
    yield (
        f"On one core authotron answers {times(warm, last, 'Klein')} times as many requests as the "
        f"same work in plain Klein, and {times(warm, last, 'original')} times as many as "
        "auth-o-tron in Rust."
    )
    yield (
        f"Behind nginx, over a UNIX socket, it is {times(by_get, f'{last}, UNIX', 'original')} "
        "times as many as with auth-o-tron if nginx asks by GET, and "
        f"{times(by_head, f'{last}, UNIX', 'original')} times as many if nginx asks by HEAD."
    )


BLOCKS: dict[str, Block] = {
    "in words": in_words,
    "machine": machine,
    "direct": direct,
    "limit": limit,
    "nginx by GET": nginx_by_get,
    "nginx by HEAD": nginx_by_head,
    "example": example,
    "requests": requests,
    "cold": cold,
    "further": further,
    "policies": policies,
    "revocations": revocations,
    "workers": workers,
}
