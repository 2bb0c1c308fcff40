"""Print untrusted text so that it cannot control the terminal."""

from __future__ import annotations

from typing import Any

import click

from authotron.telemetry.terminal import visible


def say(text: str, **style: Any) -> None:
    """
    Print one line, in which characters that are not printable are escaped.

    @param style: keywords of C{click.secho}.
    """
    click.secho(visible(text), **style)


def say_lines(text: str, **style: Any) -> None:
    """Print several lines, such as indented JSON; characters that are not printable are escaped."""
    for line in text.split("\n"):
        say(line, **style)


def say_as_it_is(text: str, **style: Any) -> None:
    """Print text that authotron made itself or has escaped already."""
    click.secho(text, **style)
