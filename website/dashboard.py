"""
Draw the Grafana dashboard as an SVG, with the metrics of a real gateway under a real load.

A gateway, clients and Prometheus run for two minutes. Then each query of the dashboard is put to
Prometheus, and its answer is drawn in the panel's place. Grafana is not needed.

Usage: dashboard.py FILE. C{prometheus} must be on the path.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DASHBOARD = ROOT / "etc/grafana/authotron.json"
SECONDS, STEP, WINDOW = 120, 2, 12
"""How long the load runs, and the step and the rate interval of the queries, in seconds."""
ATTACK = 60, 75
"""Seconds of the load between which a client tries many wrong passwords."""
ROWS = 28
"""Rows of the dashboard's grid that are drawn; the panels below are left out."""
COLUMN, ROW, GAP = 50, 29, 8
COLOURS = ("#1b7c99", "#ffb703", "#d1495b", "#5a9e6f", "#8367c7", "#e07a3f", "#4a6470")
STYLE = """
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#4a6470}
.b{fill:#eef3f6}.p{fill:#fff;stroke:#d5e0e6}.t{fill:#16323d;font-weight:600;font-size:13px}.g{stroke:#dfe8ec}
.v{fill:#1b7c99;font-size:26px;font-weight:600;text-anchor:middle}.e{text-anchor:end}.l{fill:none;stroke-width:1.8}
@media (prefers-color-scheme:dark){
.b{fill:#0e1418}.p{fill:#151d23;stroke:#2a3a44}text{fill:#a5bac4}.t{fill:#e4eef2}.g{stroke:#26343d}.v{fill:#4fb9d8}}
"""
CONFIG = """
version: "2.0.0"
server: {{host: 127.0.0.1, port: {port}}}
metrics: {{enabled: true, host: 127.0.0.1, port: {metrics}}}
auth: {{cache: {{ttl: 20, refusals: 1}}}}
jwt: {{iss: authotron, exp: 3600, secret: "{secret}"}}
logging: {{level: warn, format: console}}
providers:
  - {{type: plain, name: staff, realm: staff, users: [{staff}]}}
  - {{type: plain, name: partners, realm: partners, users: [{partners}]}}
augmenters:
  - type: plain_advanced
    name: roles
    realm: staff
    match: {{username: [user0]}}
    augment: {{roles: [admin]}}
"""


def main(path: str) -> None:
    """Run a gateway, a load and Prometheus, and write the picture."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [panel for panel in dashboard["panels"] if panel["gridPos"]["y"] < ROWS]
    with TemporaryDirectory() as folder, _running(Path(folder)) as (gateway, prometheus):
        started = time.time()
        _load(gateway, SECONDS)
        drawn = [_panel(panel, prometheus, started + WINDOW, time.time()) for panel in panels]
    width, height = 24 * COLUMN + GAP, ROWS * ROW + GAP
    Path(path).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="The Grafana dashboard of authotron">'
        f'<style>{STYLE}</style><rect class="b" width="{width}" height="{height}" rx="10"/>'
        f"{''.join(drawn)}</svg>\n",
        encoding="utf-8",
    )


@contextmanager
def _running(folder: Path) -> Iterator[tuple[int, str]]:
    """A gateway and the Prometheus that scrapes it: the gateway's port and Prometheus' address."""
    port, metrics, scraper = free_ports(3)
    users = {
        realm: ", ".join(
            f"{{username: user{number}, password: {realm}-{number}}}" for number in range(40)
        )
        for realm in ("staff", "partners")
    }
    config = folder / "authotron.yaml"
    config.write_text(
        CONFIG.format(port=port, metrics=metrics, secret=secrets.token_hex(32), **users)
    )
    config.chmod(0o600)
    scrape = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "authotron",
                "static_configs": [{"targets": [f"127.0.0.1:{metrics}"]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(scrape))
    program = shutil.which("prometheus") or sys.exit("prometheus is not on the path")
    commands: list[Sequence[str | Path]] = [
        [Path(sys.executable).with_name("authotron"), "run", "--config", config],
        [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{scraper}",
            "--log.level=error",
        ],
    ]
    running = [subprocess.Popen(command, env=os.environ) for command in commands]
    try:
        for each in (port, metrics, scraper):
            wait_for(each)
        yield port, f"http://127.0.0.1:{scraper}"
    finally:
        for process in running:
            process.terminate()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Return free ports of the loopback address."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(port: int) -> None:
    """Wait until a port of this machine accepts connections, for 30 s at most."""
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _load(port: int, seconds: float) -> None:
    """Let four clients log in: mostly known users, some wrong passwords, in waves."""
    clients = [threading.Thread(target=_client, args=(port, seconds, n)) for n in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()


def _client(port: int, seconds: float, number: int) -> None:
    chance = random.Random(number)  # noqa: S311 - a load, no secret
    connection = http.client.HTTPConnection("127.0.0.1", port)
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        realm = chance.choice(["staff", "staff", "partners"])
        user = min(int(chance.expovariate(0.12)), 39)
        wrong = chance.random() < (0.15 if ATTACK[0] < passed < ATTACK[1] else 0.04)
        password = "wrong" if wrong else f"{realm}-{user}"
        pair = base64.b64encode(f"user{user}:{password}".encode()).decode()
        connection.request("GET", "/authenticate", headers={"Authorization": f"Basic {pair}"})
        connection.getresponse().read()
        rate = 45 + 25 * math.sin(passed / 14 + number / 3) + 8 * chance.random()
        time.sleep(1 / rate)


def _panel(panel: dict[str, Any], prometheus: str, start: float, end: float) -> str:
    """Draw one panel at its place: its title, and its values as a number or as lines."""
    place = panel["gridPos"]
    left, top = place["x"] * COLUMN + GAP, place["y"] * ROW + GAP
    width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
    unit = panel["fieldConfig"]["defaults"].get("unit", "none")
    lines = [
        (_legend(target.get("legendFormat", ""), series["metric"]), series["values"])
        for target in panel["targets"]
        for series in _query(prometheus, target["expr"], start, end)
        if panel["type"] == "stat" or any(float(value) > 0 for _, value in series["values"])
    ]
    draw = _number if panel["type"] == "stat" else _lines
    return (
        f'<g transform="translate({left} {top})"><rect class="p" width="{width}" '
        f'height="{height}" rx="5"/><text class="t" x="12" y="22">{escape(panel["title"])}</text>'
        f"{draw(lines, unit, width, height)}</g>"
    )


def _query(prometheus: str, query: str, start: float, end: float) -> list[dict[str, Any]]:
    query = query.replace("$__rate_interval", f"{WINDOW}s").replace("$instance", ".*")
    form = {"query": query, "start": start, "end": end, "step": STEP}
    url = f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(form)}"
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - this machine
        found: list[dict[str, Any]] = json.load(response)["data"]["result"]
    return found


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form)


def _number(
    lines: Sequence[tuple[str, list[tuple[float, str]]]], unit: str, width: int, height: int
) -> str:
    """Draw the last value of the first series, or its legend if that is the information."""
    if not lines:
        value = "0"
    else:
        legend, values = lines[0]
        value = legend if re.fullmatch(r"\d+\.\d+.*", legend) else _text(float(values[-1][1]), unit)
    return f'<text class="v" x="{width // 2}" y="{height // 2 + 20}">{escape(value)}</text>'


def _lines(
    lines: Sequence[tuple[str, list[tuple[float, str]]]], unit: str, width: int, height: int
) -> str:
    """Draw series over time: a grid with values, a line for each series, and the legend."""
    points = [
        [(float(at), float(value)) for at, value in values if value != "NaN"] for _, values in lines
    ]
    times = [at for series in points for at, _ in series]
    if not times:
        return f'<text x="{width // 2 - 24}" y="{height // 2}">No data</text>'
    first = min(times)
    last = max(first + 1, *times)
    highest = _round_up(max(value for series in points for _, value in series))
    x0, y0, y1 = 78, height - 48, 36
    drawn = []
    for part in range(5):
        y = y0 - (y0 - y1) * part / 4
        drawn.append(
            f'<path class="g" d="M{x0} {y:.1f}H{width - 12}"/>'
            f'<text class="e" x="{x0 - 6}" y="{y + 4:.1f}">{_text(highest * part / 4, unit)}</text>'
        )
    for number, series in enumerate(points):
        path = "L".join(
            f"{x0 + (width - 12 - x0) * (at - first) / (last - first):.1f} "
            f"{y0 - (y0 - y1) * value / highest:.1f}"
            for at, value in series
        )
        colour = COLOURS[number % len(COLOURS)]
        drawn.append(f'<path class="l" stroke="{colour}" d="M{path}"/>')
    x = 14
    for number, (legend, _) in enumerate(lines):
        if x + 22 + 6.4 * len(legend) > width:
            break
        drawn.append(
            f'<path class="l" stroke="{COLOURS[number % len(COLOURS)]}" d="M{x} {height - 16}h14"/>'
            f'<text x="{x + 19}" y="{height - 12}">{escape(legend)}</text>'
        )
        x += round(36 + 6.4 * len(legend))
    return "".join(drawn)


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 2.5 and 5 times a power of ten."""
    if value <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value)


def _text(value: float, unit: str) -> str:
    """Return a value as Grafana writes it."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB"
    return f"{value:.3g}" + (" req/s" if unit == "reqps" else "")


if __name__ == "__main__":
    main(sys.argv[1])
