"""
How fast the gateway is, beside an earlier version, plain Klein, FastAPI, and auth-o-tron in Rust.

The entrants of each contest are measured in turns, pinned to cores, so that other load on the
machine affects all of them alike. Prints a table of all measurements and one of all bars, and
keeps everything as JSON.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import bars
import behind_nginx
import direct
import life
import policies
import revocations
import servers
import shares
import table
import workers
from attrs import frozen
from contest import Contest, Measure
from fleet import Fleet
from results import Results


@frozen
class Plan:
    """
    A contest that can be held.

    @ivar times: how many times C{--rounds} are measured, each time with new processes: more than
        once if what is reached is near a bar. Two processes of one program differ by some percent,
        because their objects lie at other addresses, and further rounds do not show it.
    @ivar is_core: whether the quick run contains it.
    """

    name: str
    entrants: Callable[[Fleet], dict[str, Measure]]
    times: int = 1
    is_core: bool = False


PLANS = (
    Plan("direct, warm", direct.warm, 2, is_core=True),
    Plan("direct, warm, HEAD", direct.warm_by_head),
    Plan("a new X-Request-ID each time", direct.request_ids),
    Plan("heads that never repeat", direct.new_heads, 3),
    Plan(bars.FACTS, direct.facts, 2),
    Plan(bars.POLICIES, policies.warm, 2),
    Plan(bars.POLICIES_NEW, policies.new_uris, 3),
    Plan(bars.POLICIES_COLD, policies.cold, 3),
    Plan(bars.REVOCATIONS, revocations.warm, 3),
    Plan(bars.REVOCATIONS_COLD, revocations.cold),
    Plan("new connections", direct.new_connections),
    Plan(bars.COLD, direct.cold, 3, is_core=True),
    Plan("cold, shares", shares.shares),
    Plan(bars.NEW_CREDENTIALS, life.new_credentials, 3),
    Plan(bars.BY_GET, behind_nginx.by_get, 3),
    Plan(bars.BY_HEAD, behind_nginx.by_head, 2),
    Plan("nginx, the shipped example", behind_nginx.example, 2),
    Plan("nginx, its default", behind_nginx.default),
    Plan("workers", workers.workers, 3),
    Plan(bars.BURSTS, workers.bursts),
    Plan("start", life.start, 4),
    Plan("UNIX socket", direct.over_unix),
    Plan("connections", direct.connections),
    Plan("one odd request in a hundred", direct.odd_requests),
    Plan("half load", direct.half_load, 2, is_core=True),
    Plan("API tokens", life.limited_tokens, is_core=True),
    Plan("cached credentials", life.cached_credentials),
    Plan(bars.MANY, life.many_credentials),
)


def hold(plans: list[Plan], options: argparse.Namespace, results: Results) -> None:
    """Hold the contests; those that were held are kept if a later one fails."""
    for plan in plans:
        contest = Contest(plan.name)
        for _ in range(plan.times):
            with ExitStack() as stack:
                # What servers have stored is not what the next ones find.
                folder = Path(stack.enter_context(TemporaryDirectory()))
                entrants = plan.entrants(Fleet(folder, options, stack))
                contest.run(entrants, options.rounds, options.seconds)
        results.contests.append(contest)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the core, in two minutes")
    parser.add_argument("--only", action="append", metavar="TEXT",
                        help="contests with this text in their name; may be repeated")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print the names of all contests")
    parser.add_argument("--rounds", type=int, default=5, help="more where bars are near")
    parser.add_argument("--seconds", type=float, default=1, help="of one measurement")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--server-core", default="0", help="of the servers, or of nginx")
    parser.add_argument("--client-core", default="1", help="of wrk")
    parser.add_argument("--json", type=Path, default=Path("var/bench.json"))
    return parser.parse_args()


def select(options: argparse.Namespace) -> list[Plan]:
    """Return the contests that the options name."""
    plans = [each for each in PLANS if each.is_core or not options.quick]
    if options.only:
        plans = [each for each in plans if any(text in each.name for text in options.only)]
    return plans


def main() -> None:
    options = parse()
    plans = select(options)
    if options.list:
        print("\n".join(each.name for each in plans))
        return
    servers.require("wrk", "taskset", "chrt", "ss", "nginx")
    os.sched_setaffinity(0, set(map(int, options.client_core.split(","))))
    results = Results()
    try:
        hold(plans, options, results)
    finally:
        print("\n".join([*table.measurements(results.contests), ""]))
        print("\n".join([*table.verdicts(results.contests), ""]))
        print(f"load before: {results.run['load']:.2f}, after: {os.getloadavg()[0]:.2f}")
        results.write(options.json)


if __name__ == "__main__":
    main()
