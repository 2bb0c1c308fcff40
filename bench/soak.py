"""
Run a gateway for a long time at half of its maximum load, and find leaks.

Meanwhile the configuration is reloaded, API tokens are revoked, clients come with new connections
and new credentials, and clients leave in the middle of a request. Memory, descriptors and errors
are sampled and kept as JSON.

The exit status is 1 if an answer was wrong, if memory grew (the median of the last quarter of all
samples is more than 2 % above that of the second quarter; the first quarter is for warming up), or
if the gateway has more descriptors after all clients have left than before they came.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import load
import proxy
import servers
from attrs import define, field
from contest import spread
from fleet import Fleet, Server, available_versions
from life import ALL_KINDS
from load import Load
from proxy import Site
from visitors import Unexpected, Visitors

GROWTH = 1.02
"""The greatest ratio of memory in the last quarter and in the second quarter."""
CHUNK = 10
"""Seconds after which wrk is started anew, with new connections."""
SETTLING = 5
"""Seconds after the first reload until all its connections and processes have ended."""
LEAVING = 30
"""Seconds that the gateway has to close its descriptors after all clients have left."""

Sample = dict[str, float]


@define
class Soak:
    """
    A gateway under load, and what was observed.

    @ivar errors: the first errors of each kind of client, with the second of the run.
    """

    gateway: Server
    visitors: Visitors
    how: Load
    options: argparse.Namespace
    requests: int = 0
    errors: list[str] = field(factory=list)
    visits: dict[str, int] = field(factory=dict)
    samples: list[Sample] = field(factory=list)
    _over: threading.Event = field(factory=threading.Event)
    _began: float = field(factory=time.monotonic)

    def run(self) -> None:
        """Start all clients, take samples until the time is over, and stop the clients."""
        jobs = {name: visit for name, (_, visit) in self.visitors.all().items()}
        pauses = {name: pause for name, (pause, _) in self.visitors.all().items()}
        jobs |= {"reload": self.visitors.reload, "load": self._send_chunk}
        pauses |= {"reload": self.options.reload, "load": 0}
        threads = [
            threading.Thread(target=self._repeat, args=(name, pauses[name], job))
            for name, job in jobs.items()
        ]
        for each in threads:
            each.start()
        try:
            self._sample(self._began + self.options.minutes * 60)
        finally:
            self._over.set()
            for each in threads:
                each.join()

    def _repeat(self, name: str, pause: float, job: Callable[[], None]) -> None:
        while not self._over.wait(pause):
            try:
                job()
            except (OSError, Unexpected, KeyError, ValueError) as error:
                self._note(name, f"{type(error).__name__} {error}")
            self.visits[name] = self.visits.get(name, 0) + 1

    def _note(self, name: str, message: str) -> None:
        self.errors.append(f"{time.monotonic() - self._began:.0f} s: {name}: {message}")
        print(self.errors[-1], file=sys.stderr)

    def _send_chunk(self) -> None:
        """Send requests at the pace for some seconds."""
        output = load.output_of_wrk(self.visitors.port, self.how.but(seconds=CHUNK))
        if count := re.search(r"(\d+) requests in", output):
            self.requests += int(count[1])
        for problem in re.findall(r"^.*(?:Non-2xx|Socket errors).*$", output, re.MULTILINE):
            raise Unexpected(problem.strip())

    def _sample(self, until: float) -> None:
        while time.monotonic() < until and not self._over.wait(self.options.every):
            try:
                self.samples.append(self._observe())
            except OSError:
                if not Path(f"/proc/{self.gateway.process}/fd/0").exists():
                    self._note("gateway", "its process has ended")
                    return
                continue  # a worker ended while it was observed
            print(self.samples[-1], file=sys.stderr)

    def _observe(self) -> Sample:
        process = self.gateway.process
        return {
            "seconds": round(time.monotonic() - self._began, 1),
            "memory": round(servers.memory(process), 2),
            "descriptors": servers.descriptors(process),
            "processes": len(servers.family(process)),
            "requests": self.requests,
            "errors": len(self.errors),
        }


def has_grown(samples: list[Sample]) -> bool:
    """Return whether memory was not flat, by the rule of this module."""
    second, last = quarters(samples)
    return last > second * GROWTH


def quarters(samples: list[Sample]) -> tuple[float, float]:
    """
    Return the median memory of the second and of the last quarter of the samples.

    Samples that were taken while a worker was replaced, and so with more processes, do not count.
    """
    usual = min((each["processes"] for each in samples), default=0)
    memory = [each["memory"] for each in samples if each["processes"] == usual]
    if not memory:
        return 0, 0
    quarter = max(1, len(memory) // 4)
    second, last = memory[quarter : 2 * quarter] or memory, memory[-quarter:]
    return statistics.median(second), statistics.median(last)


def descriptors_when_idle(gateway: Server, most: int) -> int:
    """Return how many descriptors are open, as soon as there are few enough or the time is over."""
    until = time.monotonic() + LEAVING
    count = most
    with suppress(OSError):  # the process has ended, which is an error already
        while (count := servers.descriptors(gateway.process)) > most and time.monotonic() < until:
            time.sleep(0.2)
    return count


def soak(fleet: Fleet, options: argparse.Namespace) -> tuple[Soak, int, int]:
    """Start everything and run; return also the descriptors before the clients and after them."""
    versions = available_versions()
    version = versions[options.loop] if options.loop else fleet.fastest
    store = {"type": "sqlite", "path": str(fleet.folder / "tokens.db")}
    sections: dict[str, Any] = {**ALL_KINDS, "store": store, "server": {"workers": options.workers}}
    gateway = fleet.gateway(version, "soak", core=options.server_core, **sections)
    alone = Visitors(gateway, gateway.port)
    for _, visit in alone.all().values():
        visit()
    alone.reload()
    time.sleep(SETTLING)
    before = servers.descriptors(gateway.process)
    with ExitStack() as stack:
        port = gateway.port if options.direct else _nginx(fleet, gateway, stack)
        how = fleet.load()
        if not options.direct:
            how = how.but(path=f"/{proxy.PAGE}")
        fastest = spread([load.wrk(port, gateway.process, how)["rate"] for _ in range(3)])
        paced = how.but(pace=fastest.median / 2, connections=128)
        running = Soak(gateway, Visitors(gateway, port), paced, options)
        running.run()
    return running, before, descriptors_when_idle(gateway, before)


def _nginx(fleet: Fleet, gateway: Server, stack: ExitStack) -> int:
    """Start nginx with the shipped example, and return its port."""
    site = Site(gateway.address, "example", pool=32)
    running = proxy.nginx(fleet.folder / "nginx", {"soak": site}, fleet.options.client_core)
    _, ports = stack.enter_context(running)
    return ports["soak"]


def problems(running: Soak, before: int, after: int) -> Iterator[str]:
    """Yield what is wrong."""
    if running.errors:
        yield f"{len(running.errors)} errors, the first at {running.errors[0]}"
    if has_grown(running.samples):
        second, last = quarters(running.samples)
        yield f"memory grew from {second:.1f} to {last:.1f} MiB"
    if after > before:
        yield f"{after} descriptors after all clients have left, {before} before they came"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--direct", action="store_true", help="without nginx")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--loop", choices=("epoll", "uvloop"), help="default: uvloop, if installed")
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples")
    parser.add_argument("--reload", type=float, default=20, help="seconds between two reloads")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--server-core", default="0,1", help="of the gateway")
    parser.add_argument("--client-core", default="0,1", help="of nginx and wrk")
    parser.add_argument("--json", type=Path, default=Path("var/soak.json"))
    return parser.parse_args()


def main() -> None:
    options = parse()
    servers.require("wrk", "taskset", *(() if options.direct else ("nginx",)))
    with TemporaryDirectory() as name, ExitStack() as stack:
        running, before, after = soak(Fleet(Path(name), options, stack), options)
    found = list(problems(running, before, after))
    second, last = quarters(running.samples)
    summary = {
        "minutes": options.minutes,
        "requests": running.requests,
        "visits": running.visits,
        "errors": len(running.errors),
        "memory": [second, last],
        "descriptors": [before, after],
        "problems": found,
    }
    print(json.dumps(summary, indent=1))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    content = {**summary, "first errors": running.errors[:50], "samples": running.samples}
    options.json.write_text(json.dumps(content) + "\n")
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
