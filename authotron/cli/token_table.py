"""Print API tokens as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from authotron.model.token import Token
from authotron.telemetry.terminal import visible

HEADER = ("ID", "OWNER", "NAME", "ROLES", "CREATED", "EXPIRES", "LAST USED")

_WIDEST = 40
"""
Maximum width of a column, in characters; a longer value moves the rest of its line to the right.
"""


def table(tokens: Sequence[Token], now: float) -> Iterator[str]:
    """Yield a line of headings and one line for each API token, or no line without API tokens."""
    if not tokens:
        return
    rows = [HEADER, *(_cells(token, now) for token in tokens)]
    widths = [min(_WIDEST, max(map(len, column))) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _cells(token: Token, now: float) -> tuple[str, ...]:
    owner, grant = token.owner, token.grant
    end = grant.expires
    roles = "all" if grant.roles is None else ",".join(grant.roles) or "none"
    cells = (
        token.id,
        f"{owner.realm}/{owner.username}",
        token.name or "-",
        roles,
        _date(token.created),
        "never" if end is None else f"{_date(end)} ({_left(end - now)})",
        "never" if token.used is None else _date(token.used),
    )
    return tuple(map(visible, cells))


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _left(seconds: float) -> str:
    """Describe the lifetime of an API token in the largest unit that fits."""
    if seconds <= 0:
        return "expired"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"in {int(seconds // size)} {unit}"
    return f"in {int(seconds)} s"
