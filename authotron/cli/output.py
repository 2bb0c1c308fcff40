"""Print untrusted text so that it cannot control the terminal."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

import click

from authotron.telemetry.terminal import visible


def say(text: str, **style: Any) -> None:
    """
    Print one line, in which characters that are not printable are escaped.

    @param style: keyword arguments of C{click.secho}, such as colours.
    """
    say_as_it_is(visible(text), **style)


def say_json(value: object) -> None:
    """Print a value as indented JSON; characters that are not printable are escaped."""
    say_lines(json.dumps(value, indent=2, ensure_ascii=False))


def say_lines(text: str, **style: Any) -> None:
    """Print several lines, such as indented JSON; characters that are not printable are escaped."""
    for line in text.split("\n"):
        say(line, **style)


def say_as_it_is(text: str, **style: Any) -> None:
    """
    Print text that authotron made itself, or that is escaped already.

    If the reader of the command's output stops early, as C{head} does, the command discards the
    rest of the output, and still exits with the status of its work.
    """
    try:
        click.secho(text, **style)
    except BrokenPipeError:
        _discard(sys.stderr if style.get("err") else sys.stdout)


def _discard(stream: Any) -> None:
    """Redirect the output of a stream to C{/dev/null}."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
