"""
Record a terminal session with a real gateway as an animated SVG.

The commands run in an empty folder. What they print is shown as it is; only the typing is played.
Without animation (C{prefers-reduced-motion}, or a viewer that knows none) the last screen is shown.

Usage: record.py FILE. Ports 8080 and 9090 must be free, or C{AOT_SERVER__PORT} and
C{AOT_METRICS__PORT} name others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

COLUMNS, ROWS = 100, 26
CELL, LINE, LEFT, TOP = 8.43, 19, 18, 62
KEY = 0.028
"""Seconds for each character that is typed."""
PROMPT = 0.5
"""Seconds before typing begins."""
GATEWAY = f"http://127.0.0.1:{os.environ.get('AOT_SERVER__PORT', '8080')}"
READY = f"http://127.0.0.1:{os.environ.get('AOT_METRICS__PORT', '9090')}/ready"
URL = f"{GATEWAY}/authenticate"
STYLE = """
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d6e2e8}
text{white-space:pre}
.w{fill:#0f171c}.e{stroke:#3a4a54;fill:none}.t{fill:#8fa5b0;text-anchor:middle}.p{fill:#ffb703}.i{fill:#fff}
.g{fill:#6fd08c}.r{fill:#ff8f7a}.k{fill:#d6e2e8}.c,.h{opacity:0}
@media (prefers-reduced-motion:reduce){*{animation:none!important}}
"""


class Screen:
    """One terminal: lines with the times at which they appear."""

    def __init__(self, title: str, start: float) -> None:
        self.title = title
        self.start = self.now = start
        self.lines: list[tuple[float, str, bool]] = []

    def type(self, command: str) -> None:
        """Play the typing of a command."""
        self.lines.append((self.now, command, True))
        self.now += PROMPT + len(command) * KEY + 0.3

    def show(self, output: str, *, pause: float) -> None:
        """Show what a command printed, and give time to read it."""
        for line in output.splitlines():
            self.lines += [
                (self.now, part, False)
                for part in textwrap.wrap(
                    line, COLUMNS, drop_whitespace=False, break_on_hyphens=False
                )
                or [""]
            ]
        self.now += pause


def main(path: str) -> None:
    """Start a gateway, talk to it, and write the recording."""
    with TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as out:
            command = [Path(sys.executable).with_name("authotron"), "quickstart"]
            gateway = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
        try:
            _run(f"curl -sf --retry 30 --retry-connrefused --retry-delay 1 {READY}", folder)
            screens = _session(folder, log.read_text(encoding="utf-8"))
        finally:
            gateway.terminate()
            gateway.wait()
    Path(path).write_text(_drawn(screens), encoding="utf-8")


def _session(folder: str, banner: str) -> list[Screen]:
    """Talk to the gateway: without credentials, with those of alice, and look into the JWT."""
    first = Screen("terminal 1: the gateway", 0)
    first.type("make run")
    first.show(banner, pause=3.5)
    second = Screen("terminal 2: a client", first.now)
    third_command = "sed -n 's/^Authorization: Bearer //p' answer"
    for command, pause in (
        (f"curl -i {URL}", 2.0),
        (f'curl -si -u "alice:$(cat var/alice-password)" {URL} | tee answer', 2.5),
    ):
        second.type(command)
        second.show(_run(command.replace("curl -i", "curl -si"), folder), pause=pause)
    third = Screen("terminal 2: what the backend learns", second.now)
    command = f"{third_command} | authotron jwt decode -c var/authotron.yaml"
    third.type(command)
    third.show(_run(command, folder), pause=4.0)
    return [first, second, third]


def _run(command: str, folder: str) -> str:
    """What a command of the shell prints; it must succeed."""
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(paths)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.rstrip("\n") + "\n"


def _drawn(screens: list[Screen]) -> str:
    """The recording, as SVG. Each moment is a percentage of the whole."""
    total = screens[-1].now
    width, height = round(COLUMNS * CELL + 2 * LEFT), TOP + ROWS * LINE
    rules: list[str] = []
    groups = [
        _screen(number, screen, total, rules, is_last=screen is screens[-1])
        for number, screen in enumerate(screens)
    ]
    rules.append(
        f"g,text,rect{{animation-duration:{total:.1f}s;animation-iteration-count:infinite}}"
    )
    dots = "".join(
        f'<circle cx="{24 + 20 * index}" cy="21" r="6" fill="{colour}"/>'
        for index, colour in enumerate(("#ff6b5e", "#ffb703", "#6fd08c"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" xml:space="preserve" role="img" '
        f'aria-label="A terminal: make run starts a gateway; curl without '
        f'credentials gets a 401, with those of alice a 200 and a JWT, which is then decoded.">'
        f"<style>{STYLE}{''.join(rules)}</style>"
        f'<clipPath id="v"><rect x="0" y="44" width="{width}" height="{height - 54}"/></clipPath>'
        f'<rect class="w" width="{width}" height="{height}" rx="10"/>'
        f'<rect class="e" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="10"/>{dots}'
        f"{''.join(groups)}</svg>\n"
    )


def _screen(number: int, screen: Screen, total: float, rules: list[str], *, is_last: bool) -> str:
    """One screen: it is seen from its start to its end, and scrolls when it is full."""

    def at(moment: float) -> str:
        return f"{min(moment / total * 100, 100):.2f}%"

    def animate(name: str, frames: str, timing: str = "step-end") -> str:
        rules.append(f"@keyframes {name}{{{frames}}}")
        return f'style="animation-name:{name};animation-timing-function:{timing}"'

    end = "" if is_last else f"{at(screen.now)}{{opacity:0}}"
    start = "" if number == 0 else "0%{opacity:0}"
    seen = animate(f"s{number}", f"{start}{at(screen.start)}{{opacity:1}}{end}")
    shapes, moves = [], {0.0: 0}
    for row, (moment, text, is_command) in enumerate(screen.lines):
        if row >= ROWS - 1:
            moves[moment] = (ROWS - 2 - row) * LINE
        shown = animate(f"l{number}-{row}", f"0%{{opacity:0}}{at(moment)}{{opacity:1}}")
        y = TOP + row * LINE
        shapes.append(
            f'<text x="{LEFT}" y="{y}" {shown}>{_coloured(text, is_command=is_command)}</text>'
        )
        if is_command:
            length = len(text)
            begun = moment + PROMPT
            typed = begun + length * KEY
            typing = f"transform:none;animation-timing-function:steps({length})"
            after = f"transform:translateX({length * CELL:.1f}px)"
            frames = (
                f"0%,{at(begun)}{{opacity:1;{typing}}}{at(typed)}{{opacity:1;{after}}}"
                f"{at(typed + 0.3)},100%{{opacity:0;{after}}}"
            )
            hidden = animate(f"c{number}-{row}", frames, "step-end")
            x = LEFT + 2 * CELL
            shapes.append(
                f'<g {shown}><g class="c" {hidden}><rect class="w" x="{x:.1f}" y="{y - 14}" '
                f'width="{(length + 1) * CELL:.1f}" height="{LINE}"/>'
                f'<rect class="k" x="{x:.1f}" y="{y - 13}" width="8" height="16"/></g></g>'
            )
    frames = "".join(f"{at(moment)}{{transform:translateY({y}px)}}" for moment, y in moves.items())
    scrolls = animate(f"m{number}", frames)
    hidden = "" if is_last else 'class="h" '
    title = (
        f'<text class="t" x="{COLUMNS * CELL / 2 + LEFT:.0f}" y="26">{escape(screen.title)}</text>'
    )
    lines = f'<g transform="translate(0 {min(moves.values())})" {scrolls}>{"".join(shapes)}</g>'
    return f'<g {hidden}{seen}>{title}<g clip-path="url(#v)">{lines}</g></g>'


def _coloured(text: str, *, is_command: bool) -> str:
    """A line with the colours of a terminal."""
    shown = escape(text, quote=False)
    if is_command:
        return f'<tspan class="p">$ </tspan><tspan class="i">{shown}</tspan>'
    for opening, colour in (("HTTP/1.1 2", "g"), ("HTTP/1.1 4", "r")):
        if text.startswith(opening):
            return f'<tspan class="{colour}">{shown}</tspan>'
    return shown


if __name__ == "__main__":
    main(*sys.argv[1:])
