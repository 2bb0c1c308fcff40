"""Draw a picture with panels of horizontal bars, as an SVG for light and for dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from attrs import frozen

WIDTH, MARGIN, LABELS, NUMBERS = 960, 28, 190, 74
"""Pixels of the picture, around it, and of the labels and the numbers of a panel."""
BAR, GAP, HEAD = 16, 12, 74
"""Pixels of a bar, between two rows, and above the first row of a panel."""

STYLE = """
    .panel{fill:#f6f9fb;stroke:#d5e0e6}.own{fill:#1b7c99}.other{fill:#9fb6c1}.limit{fill:#d9b45b}.second{opacity:.55}
    text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#16323d}
    .t{font-weight:700;font-size:17px}.s{font-size:13px;fill:#4a6470}.e{text-anchor:end}
    @media (prefers-color-scheme:dark){
      .panel{fill:#121a20;stroke:#2a3a44}.own{fill:#3aa3c2}.other{fill:#4d6471}.limit{fill:#a98a3f}
      text{fill:#e4eef2}.s{fill:#a5bac4}
    }
"""


@frozen
class Row:
    """
    A labelled row of one bar or more.

    @ivar kind: C{own}, C{other} or C{limit}, which chooses the colour.
    """

    label: str
    values: tuple[float, ...]
    kind: str = "other"

    @property
    def height(self) -> int:
        return BAR * len(self.values) + GAP


@frozen
class Panel:
    """A title, what the bars show, and rows; all panels of a picture stand side by side."""

    title: str
    about: str
    rows: Sequence[Row]

    @property
    def height(self) -> int:
        return HEAD + sum(each.height for each in self.rows)


def draw(title: str, description: str, panels: Sequence[Panel]) -> str:
    """Return the picture."""
    height = max(each.height for each in panels) + MARGIN
    width = WIDTH // len(panels)
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t d">',
        f'  <title id="t">{escape(title)}</title>',
        f'  <desc id="d">{escape(description)}</desc>',
        f"  <style>{STYLE}  </style>",
        f'  <rect class="panel" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="14"/>',
    ]
    for number, panel in enumerate(panels):
        lines += _panel(panel, number * width, width)
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, left: int, width: int) -> Iterator[str]:
    yield f'  <text class="t" x="{left + MARGIN}" y="34">{escape(panel.title)}</text>'
    yield f'  <text class="s" x="{left + MARGIN}" y="54">{escape(panel.about)}</text>'
    begin = left + MARGIN + LABELS
    most = max(max(row.values) for row in panel.rows)
    scale = (left + width - MARGIN // 2 - NUMBERS - begin) / most
    top = HEAD
    for row in panel.rows:
        middle = top + BAR * len(row.values) / 2 + 5
        yield f'  <text class="e" x="{begin - 10}" y="{middle:g}">{escape(row.label)}</text>'
        for place, value in enumerate(row.values):
            yield from _bar(row.kind, place, value, begin, top + place * BAR, value * scale)
        top += row.height


def _bar(
    kind: str, place: int, value: float, left: float, top: float, width: float
) -> Iterator[str]:
    classes = f"{kind} second" if place else kind
    yield (
        f'  <rect class="{classes}" x="{left:g}" y="{top:g}" width="{max(1, width):.1f}" '
        f'height="{BAR - 2}" rx="2"/>'
    )
    yield f'  <text class="s" x="{left + width + 6:.1f}" y="{top + 12:g}">{value:,.0f}</text>'
