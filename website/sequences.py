"""Draw the sequence diagrams of the documentation as SVG: the site needs no script for them."""

from __future__ import annotations

import re
import textwrap
from html import escape
from typing import Any

from pymdownx.superfences import SuperFencesException

GAP, ROW, TOP, CHARACTER, LABEL, LINE = 136, 38, 52, 7.2, 26, 17
ARROW = re.compile(r"(\w+)(-?->>)(\w+): (.+)")
NOTE = re.compile(r"Note over (\w+): (.+)")
PARTICIPANT = re.compile(r"participant (\w+) as (.+)")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:currentColor}"
    ".l{stroke:currentColor;stroke-width:1.3;fill:none}.d{stroke-dasharray:5 4}"
    ".f{stroke:currentColor;fill:none;opacity:.35}.b{fill:currentColor;opacity:.1}"
)


def fence(source: str, *_: Any, **__: Any) -> str:
    """Turn a block of Mermaid into an image; raise an error for a line that is not understood."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    if lines.pop(0) != "sequenceDiagram":
        raise SuperFencesException("only sequence diagrams can be drawn")
    names, steps = {}, []
    for line in lines:
        if found := PARTICIPANT.fullmatch(line):
            names[found[1]] = found[2]
        else:
            steps.append(line)
    return _drawn(names, steps)


def _drawn(names: dict[str, str], steps: list[str]) -> str:
    column = _columns(list(names), steps)
    width, y, opened = max(column.values()) + 75, TOP, []
    shapes: list[str] = []
    labels: list[str] = []
    for step in steps:
        y += ROW
        if found := ARROW.fullmatch(step):
            lines = textwrap.wrap(found[4], LABEL)
            y += (len(lines) - 1) * LINE
            shapes += _arrow(column[found[1]], column[found[3]], y, dashed=found[2] == "-->>")
            middle = (column[found[1]] + column[found[3]]) / 2
            for number, line in enumerate(reversed(lines)):
                labels.append(_label(middle, y - 7 - number * LINE, line))
        elif found := NOTE.fullmatch(step):
            labels.append(_label(column[found[1]], y, found[2], boxed=True))
        elif step.startswith(("alt ", "else ")):
            word, _, condition = step.partition(" ")
            if word == "alt":
                opened.append(y - 20)
            else:
                shapes.append(f'<path class="f d" d="M8 {y - 20}H{width - 8}"/>')
            labels.append(f'<text x="16" y="{y - 4}">[{escape(condition)}]</text>')
        elif step == "end":
            y -= ROW // 2
            start = opened.pop()
            size = f'width="{width - 16}" height="{y - start}"'
            shapes.append(f'<rect class="f" x="8" y="{start}" {size} rx="4"/>')
        else:
            raise SuperFencesException(
                f"a sequence diagram has a line that cannot be drawn: {step}"
            )
    height = y + 24
    heads = [
        f'<rect class="b" x="{x - 60}" y="6" width="120" height="32" rx="6"/>'
        f'<path class="f" d="M{x} 38V{height}"/>'
        f'<text x="{x}" y="27" text-anchor="middle" font-weight="bold">{escape(names[key])}</text>'
        for key, x in column.items()
    ]
    return (
        '<p><svg class="sequence" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {width} {height}" width="{width}"><style>{STYLE}</style>'
        f"{''.join(heads + shapes + labels)}</svg></p>"
    )


def _columns(names: list[str], steps: list[str]) -> dict[str, int]:
    """Where each participant stands: the labels of arrows between neighbours fit."""
    gaps = [GAP] * len(names)
    for found in filter(None, map(ARROW.fullmatch, steps)):
        first, second = sorted((names.index(found[1]), names.index(found[3])))
        if second - first == 1:
            longest = max(map(len, textwrap.wrap(found[4], LABEL)))
            gaps[first] = max(gaps[first], int(longest * CHARACTER) + 16)
    return {name: 75 + sum(gaps[:index]) for index, name in enumerate(names)}


def _arrow(start: float, end: float, y: float, *, dashed: bool) -> list[str]:
    back = -7 if end > start else 7
    return [
        f'<path class="l{" d" if dashed else ""}" d="M{start} {y}H{end}"/>',
        f'<path class="l" d="M{end + back} {y - 4}L{end} {y}L{end + back} {y + 4}"/>',
    ]


def _label(x: float, y: float, text: str, *, boxed: bool = False) -> str:
    """Write a text around a point. The page's colour behind it hides the lines that it crosses."""
    width = len(text) * CHARACTER + 8
    place = f'x="{x - width / 2}" y="{y - 14}" width="{width}" height="19" rx="3"'
    back = f'<rect {place} style="fill:var(--md-default-bg-color)"/>'
    tint = f'<rect {place} class="b"/>' if boxed else ""
    return f'{back}{tint}<text x="{x}" y="{y}" text-anchor="middle">{escape(text)}</text>'
