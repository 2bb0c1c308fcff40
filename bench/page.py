"""
Write the tables of docs/performance.md and its picture from the figures of a run.

The page has blocks that begin with C{<!-- bench: NAME -->} and end with C{<!-- end -->}. Files that
are named replace the kept figures (bench/results.json); a contest of a later file replaces that of
an earlier one.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import bars
import chart
from behind_nginx import UNPROTECTED
from blocks import BLOCKS, find
from chart import Panel, Row
from results import Results

HERE = Path(__file__).resolve().parent
KEPT = HERE / "results.json"
PAGE = HERE.parent / "docs" / "performance.md"
PICTURE = HERE.parent / "docs" / "pictures" / "performance.svg"
BLOCK = re.compile(r"(<!-- bench: ([\w ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def picture(results: Results) -> str:
    """Draw requests per second without and with nginx."""
    warm = find(results, "direct, warm")
    by_get, by_head = find(results, bars.BY_GET), find(results, bars.BY_HEAD)
    short = {"Klein": "plain Klein", "FastAPI": "FastAPI", "original": "auth-o-tron (Rust)"}
    own = {"epoll": "authotron, epoll", "uvloop": "authotron, uvloop"}
    last = list(warm.rounds)[-1]
    through = {f"{last}, TCP": "authotron, TCP", f"{last}, UNIX": "authotron, UNIX socket"}
    left = [
        Row(label, (warm.median(name, "rate"),), _kind(name))
        for name, label in (short | own).items()
        if warm.has(name)
    ]
    right = [
        Row(label, tuple(each.median(name, "rate") for each in (by_get, by_head)), kind)
        for among, kind in (
            (short, "other"),
            (through, "own"),
            ({UNPROTECTED: UNPROTECTED}, "limit"),
        )
        for name, label in among.items()
        if by_get.has(name)
    ]
    return chart.draw(
        "Requests per second",
        "Left: without a proxy, one core for the server. Right: behind nginx, which has one core.",
        (
            Panel("Direct", "requests per second, one core, cached decisions", left),
            Panel(
                "Behind nginx", "nginx on one core; upper bar: by GET, lower bar: by HEAD", right
            ),
        ),
    )


def _kind(entrant: str) -> str:
    if entrant == UNPROTECTED:
        return "limit"
    return "own" if entrant.startswith(("epoll", "uvloop")) else "other"


def render(text: str, results: Results) -> str:
    """Return the page with all blocks written anew."""
    return BLOCK.sub(lambda it: it[1] + "\n".join(BLOCKS[it[2]](results)) + "\n" + it[4], text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="what bench.py wrote with --json")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a file would change")
    options = parser.parse_args()
    results = Results.read(options.files or [KEPT])
    page = render(PAGE.read_text(), results)
    if options.check:
        if PAGE.read_text() != page or PICTURE.read_text() != picture(results):
            sys.exit(f"{PAGE} does not show the figures of {KEPT}: make performance-page")
        return
    if options.files:
        results.write(KEPT)
    PAGE.write_text(page)
    PICTURE.write_text(picture(results))


if __name__ == "__main__":
    main()
