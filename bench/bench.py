"""
How fast the gateway is beside the same job in plain Klein, in FastAPI, and beside the original.

All servers run side by side, each pinned to one core, and are asked in turns, so that what else
the machine does hits all of them alike. Prints one table with the ratios of each round and how the
bars are met, and keeps everything as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jwt
import load
import proxy
import servers
import settings
from attrs import define, field, frozen
from load import Load
from servers import TWISTD, free_port, running

HERE = Path(__file__).resolve().parent
FASTAPI = HERE.parent / ".venv-bench" / "bin" / "python"
MANY = 100_000
Figures = dict[str, float]
Ask = Callable[[float], Figures]


@frozen
class Bar:
    """What a ratio of two entrants of a contest should be: at least so much."""

    contest: str
    mine: str
    other: str
    wanted: float
    figure: str = "rate"


BARS = (
    Bar("direct, warm", "authotron", "klein", 12),
    Bar("direct, warm", "authotron", "fastapi", 10),
    Bar("direct, warm", "authotron", "original", 1.0),
    Bar("nginx, kept connections", "authotron", "original", 2),
    Bar("nginx, kept connections", "authotron", "no authentication", 0.5),
    Bar("direct, cold", "authotron, cold", "klein", 3),
    Bar("API tokens", "limited to a host", "not limited", 0.85),
    Bar("two processes", "workers: 2", "workers: 1", 1.5),
)


@define
class Contest:
    """Entrants that are asked in turns; the first is what the others are compared with."""

    name: str
    entrants: dict[str, Ask]
    rounds: dict[str, list[Figures]] = field(factory=dict)

    def run(self, count: int, seconds: float) -> None:
        for turn in range(count + 1):
            for name, ask in self.entrants.items():
                figures = ask(seconds if turn else min(seconds, 1))
                if turn:  # the first is for warming up
                    self.rounds.setdefault(name, []).append(figures)
                    print(f"{self.name}: {name}: {figures['rate']:,.0f}", file=sys.stderr)

    def ratios(self, mine: str, other: str, figure: str = "rate") -> list[float]:
        """Round by round, how many times more."""
        pairs = zip(self.rounds[mine], self.rounds[other], strict=True)
        return [one[figure] / (another[figure] or float("nan")) for one, another in pairs]

    def median(self, name: str, figure: str) -> float:
        return statistics.median(each[figure] for each in self.rounds[name])


@define
class Field:
    """Where the contests are held: the servers, and who asks them."""

    folder: Path
    options: argparse.Namespace
    stack: ExitStack
    ports: dict[str, int] = field(factory=dict)
    metrics: dict[str, int] = field(factory=dict)
    processes: dict[str, int] = field(factory=dict)

    def start(self, name: str, command: list[str], port: int, core: str = "") -> None:
        log = self.folder / f"{len(self.ports)}.log"
        core = core or self.options.server_core
        process = self.stack.enter_context(running(command, port, core, log))
        self.ports[name], self.processes[name] = port, process

    def gateway(self, name: str, core: str = "", **over: Any) -> None:
        """One of ours."""
        port, file = free_port(), self.folder / f"{len(self.ports)}.yaml"
        self.metrics[name] = free_port()
        content = settings.gateway(port, self.metrics[name], **over)
        content["server"] = {
            "host": "127.0.0.1", "listen": [f"tcp:{port}:interface=127.0.0.1", *over.get("at", ())],
            **over.get("server", {}),
        }  # fmt: skip
        content.pop("at", None)
        file.write_text(json.dumps(content))
        file.chmod(0o600)
        command = [str(TWISTD), "-n", "--pidfile=", "authotron", "--config", str(file)]
        self.start(name, command, port, core)

    def load(self, credentials: Path) -> Load:
        connections, core = self.options.connections, self.options.client_core
        return Load(credentials, connections=connections, core=core)

    def asks(self, name: str, how: Load, port: int | None = None) -> Ask:
        where, process = port or self.ports[name], self.processes[name]
        return lambda seconds: load.wrk(where, process, how.but(seconds=seconds))

    def hand_overs(self, name: str) -> float:
        """Return how many connections of a gateway went from the fast path to the site."""
        connection = HTTPConnection("127.0.0.1", self.metrics[name], timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        [line] = re.findall(r"^authotron_front_handed\w+_total ([\d.e+]+)$", text, re.MULTILINE)
        return float(line)

    def counts_hand_overs(self, name: str, how: Load) -> Ask:
        """Ask as L{asks} does, and count the hand-overs."""
        ask = self.asks(name, how)

        def counted(seconds: float) -> Figures:
            before = self.hand_overs(name)
            figures = ask(seconds)
            return {**figures, "hand-overs": self.hand_overs(name) - before}

        return counted

    def file(self, name: str, values: Iterator[str]) -> Path:
        path = self.folder / name
        path.write_text("".join(f"{value}\n" for value in values))
        return path


def basic(user: dict[str, str]) -> str:
    pair = f"{user['username']}:{user['password']}"
    return "Basic " + b64encode(pair.encode()).decode()


def tokens_of_others(count: int) -> Iterator[str]:
    """As many JSON Web Tokens of as many people."""
    for number in range(count):
        claims = {"iss": "bench", "sub": f"person-{number}", "exp": 1 << 32}
        yield f"Bearer {jwt.encode(claims, settings.SECRET, 'HS256')}"


def token_of_ours(port: int, user: dict[str, str], **limits: list[str]) -> str:
    """Create an API token of a user, and return the value of C{Authorization} with it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": basic(user), "Content-Type": "application/json"}
    connection.request("POST", "/tokens", json.dumps(limits), headers)
    token: str = json.loads(connection.getresponse().read())["token"]
    connection.close()
    return f"Bearer {token}"


def rivals(where: Field) -> list[str]:
    """Starts the others that are to be had here; their names."""
    port = free_port()
    where.start("klein", [sys.executable, str(HERE / "klein_app.py"), str(port)], port)
    names = ["klein"]
    if FASTAPI.exists():
        port = free_port()
        where.start("fastapi", [str(FASTAPI), str(HERE / "fastapi_app.py"), str(port)], port)
        names.append("fastapi")
    if binary := os.environ.get("AUTHOTRON_ORIGINAL"):
        port, file = free_port(), where.folder / "original.yaml"
        file.write_text(json.dumps(settings.original(port, free_port())))
        where.start("original", [binary, "--config", str(file)], port)
        names.append("original")
    return names


def core_contests(where: Field) -> list[Contest]:
    """The ones that the quick run holds, too."""
    how = where.load(where.file("users", map(basic, settings.USERS)))
    others = rivals(where)
    where.gateway("authotron", at=[f"unix:{where.folder}/socket"])
    where.gateway("authotron, cold", auth={"cache": {"size": 1}})
    warm = {name: where.asks(name, how) for name in (*others, "authotron")}
    cold = {name: where.asks(name, how) for name in ("klein", "authotron, cold")}
    return [
        Contest("direct, warm", warm),
        Contest("direct, cold", cold),
        limits_contest(where, how),
    ]


def limits_contest(where: Field, how: Load) -> Contest:
    """Compare API tokens limited to a host with others; the requests state the host for both."""
    where.gateway("API tokens", store={"type": "memory"})
    port, how = where.ports["API tokens"], how.but(host="api.example.org")
    entrants = {}
    for name, limits in (("not limited", {}), ("limited to a host", {"hosts": [how.host]})):
        values = (token_of_ours(port, user, **limits) for user in settings.USERS)
        file = where.file(f"tokens {name}", values)
        entrants[name] = where.counts_hand_overs("API tokens", how.but(credentials=file))
    return Contest("API tokens", entrants)


def more_contests(where: Field) -> Iterator[Contest]:
    """The others."""
    how = where.load(where.folder / "users")
    names = [name for name in where.ports if name != "authotron, cold"]
    closing = how.but(close=True)
    yield Contest("direct, new connections", {name: where.asks(name, closing) for name in names})
    yield Contest("UNIX socket", {
        f"authotron, {word}": lambda seconds, way=way: load.unix(
            f"{where.folder}/socket", where.processes["authotron"], way.but(seconds=seconds)
        )
        for word, way in (("kept", how), ("new", closing))
    })  # fmt: skip
    yield Contest("connections", {
        str(count): where.asks("authotron", how.but(connections=count))
        for count in (32, 1, 8, 128, 512, 1000)
    })  # fmt: skip
    yield Contest("one odd request in a hundred", {
        name: where.asks("authotron", how.but(odd=odd)) for name, odd in (("none", 0), ("one", 100))
    })  # fmt: skip
    yield from nginx_contests(where, how, names)
    yield from credential_contests(where, how)
    yield workers_contest(where, how)


def nginx_contests(where: Field, how: Load, names: list[str]) -> Iterator[Contest]:
    gateways = {name: where.ports[name] for name in names}
    _, ports = where.stack.enter_context(proxy.nginx(where.folder / "nginx", gateways, "0,1"))
    how = how.but(path="/", core="0,1")
    for contest, way in (
        ("nginx, its default", "default"),
        ("nginx, kept connections", "kept"),
        ("nginx, subrequests cached", "cached"),
    ):
        without = {"no authentication": where.asks("authotron", how, ports["authotron", "none"])}
        through = {name: where.asks(name, how, ports[name, way]) for name in names}
        yield Contest(contest, without | through)


def credential_contests(where: Field, how: Load) -> Iterator[Contest]:
    """Passwords, tokens of others and of ours: found, and remembered."""
    issuer = {"name": "jwt", "type": "jwt", "realm": "web", "issuer": "bench"}
    provider = {**issuer, "secret": settings.SECRET, "accepts": {"issuer": "bench"}}
    over = {"providers": [*settings.PROVIDERS, provider], "store": {"type": "memory"}}
    files = {"passwords": how.credentials, "JWT": where.file("jwt", tokens_of_others(10))}
    for name, size in (("all kinds", 2 * MANY), ("all kinds, nothing remembered", 1)):
        where.gateway(name, auth={"cache": {"size": size}}, **over)
        port, kind = where.ports[name], f"stored {size}"
        files[kind] = where.file(kind, (token_of_ours(port, user) for user in settings.USERS))
        yield Contest(f"credentials, {'hit' if size > 1 else 'miss'}", {
            "stored" if each == kind else each: where.asks(name, how.but(credentials=file))
            for each, file in files.items() if not each.startswith("stored") or each == kind
        })  # fmt: skip
    many = where.file("many", tokens_of_others(MANY))
    for count in (1, 1_000, MANY):
        file = where.file(f"many-{count}", iter(many.read_text().splitlines()[:count]))
        load.once(where.ports["all kinds"], file)
        yield Contest(
            f"{count:,} credentials",
            {"authotron": where.asks("all kinds", how.but(credentials=file))},
        )


def workers_contest(where: Field, how: Load) -> Contest:
    """One process against two; who asks shares the two cores with them."""
    for count in (1, 2):
        where.gateway(f"workers: {count}", core="0,1", server={"workers": count})
    names = ("workers: 1", "workers: 2")
    return Contest("two processes", {name: where.asks(name, how.but(core="0,1")) for name in names})


def paced(where: Field, fastest: float) -> Contest:
    """At half of the load that is possible at most."""
    how = where.load(where.folder / "users").but(pace=fastest / 2, connections=128)
    return Contest("half of the maximal load", {"authotron": where.asks("authotron", how)})


def shown(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"


def spread(ratios: list[float]) -> dict[str, float]:
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


LINE = "{:26} {:>10} {:>20} {:>8} {:>20} {:>8} {:>8} {:>6}"


def table(contests: list[Contest]) -> Iterator[str]:
    """Everything that was measured, with the ratios to the first entrant of each contest."""
    yield LINE.format("", "requests/s", "x first (min-max)", "CPU us", "x first (min-max)",
                      "p50 ms", "p99 ms", "MiB")  # fmt: skip
    for contest in contests:
        yield contest.name
        first = next(iter(contest.rounds))
        for name in contest.rounds:
            yield LINE.format(
                f"  {name}",
                f"{contest.median(name, 'rate'):,.0f}",
                shown(spread(contest.ratios(name, first))),
                f"{contest.median(name, 'microseconds'):.0f}",
                shown(spread(contest.ratios(first, name, "microseconds"))),
                f"{contest.median(name, 'p50'):.2f}",
                f"{contest.median(name, 'p99'):.2f}",
                f"{contest.median(name, 'memory'):.0f}",
            )


def bars(contests: list[Contest]) -> Iterator[str]:
    """What was to be reached, and what was."""
    known = {contest.name: contest for contest in contests}
    for bar in BARS:
        contest = known.get(bar.contest)
        if contest and {bar.mine, bar.other} <= set(contest.rounds):
            got = spread(contest.ratios(bar.mine, bar.other, bar.figure))
            yield f"{bar.contest}: {bar.mine} / {bar.other}: {shown(got)}, wanted {bar.wanted}"
        else:
            yield f"{bar.contest}: {bar.mine} / {bar.other}: not measured"
    if limited := known.get("API tokens"):
        count = sum(each["hand-overs"] for each in limited.rounds["limited to a host"])
        yield f"hand-overs of requests with tokens limited to a host: {count:.0f}, wanted 0"
    if half := known.get("half of the maximal load"):
        p50, p99 = half.median("authotron", "p50"), half.median("authotron", "p99")
        yield f"p99 / p50 at half of the maximal load: {p99 / p50:.1f}, wanted below 5"
    if many := known.get(f"{MANY:,} credentials"):
        used = many.median("authotron", "memory")
        yield f"MiB with {MANY:,} remembered credentials: {used:.0f}, wanted below 250"


def hold(options: argparse.Namespace, held: list[Contest]) -> None:
    """All contests, one after the other; those that were held are kept whatever happens later."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        where = Field(Path(name), options, stack)
        for contest in all_contests(where, held):
            if options.only in contest.name:
                contest.run(options.rounds, options.seconds)
                held.append(contest)


def all_contests(where: Field, held: list[Contest]) -> Iterator[Contest]:
    yield from core_contests(where)
    if held and "authotron" in held[0].rounds:
        yield paced(where, held[0].median("authotron", "rate"))
    if not where.options.quick:
        yield from more_contests(where)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the core, in a minute")
    parser.add_argument("--only", default="", help="contests with this in their name")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each round and server")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--server-core", default="0")
    parser.add_argument("--client-core", default="1")
    parser.add_argument("--json", type=Path, default=Path("var/bench.json"))
    options = parser.parse_args()
    servers.needed("wrk", "taskset", *(() if options.quick else ("nginx",)))
    began = os.getloadavg()
    held: list[Contest] = []
    try:
        hold(options, held)
    finally:
        loads = f"load before: {began}, after: {os.getloadavg()}"
        print("\n".join([*table(held), "", *bars(held), "", loads]))
        told = {"load": began, "contests": {each.name: each.rounds for each in held}}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
