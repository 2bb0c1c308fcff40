"""What commands print. Names, claims and messages of others do nothing to the terminal."""

from __future__ import annotations

from typing import Any

import click

from authotron.telemetry.terminal import visible


def say(text: str, **manner: Any) -> None:
    """
    Print one line; what is not printable in it is escaped.

    @param manner: as for C{click.secho}.
    """
    click.secho(visible(text), **manner)


def say_lines(text: str, **manner: Any) -> None:
    """Print lines, such as indented JSON; what is not printable in them is escaped."""
    for line in text.split("\n"):
        say(line, **manner)


def say_as_it_is(text: str, **manner: Any) -> None:
    """Print what was made here, or is escaped already."""
    click.secho(text, **manner)
