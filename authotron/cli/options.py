"""What several commands have in common: the option that names a configuration, and its reading."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from twisted.internet.task import Clock
from twisted.python import runtime
from twisted.scripts import twistd

from authotron.cli.output import say
from authotron.config import file
from authotron.config.check import Config
from authotron.daemon.service import EX_CONFIG
from authotron.model.errors import ConfigError

config_option: Callable[[Any], Any] = click.option(
    "--config",
    "-c",
    "path",
    type=click.Path(path_type=Path, readable=False),  # who reads it says better what is wrong
    default=lambda: file.path_of(os.environ),
    show_default="AOT_CONFIG_PATH, or ./config.yaml",
    help="The configuration file.",
)


_UNSUITABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters; and halves of surrogate pairs, by which Python shows what is not UTF-8."""


def text(given: str) -> str:
    """
    Check an argument of a command: one line of text in UTF-8. It is not repeated if it is not.

    @raise BadParameter: it is something else.
    """
    if _UNSUITABLE.search(given):
        raise click.BadParameter("has a control character or is not UTF-8")
    return given


@contextmanager
def complaints() -> Iterator[None]:
    """Where a configuration is bad, say all that is wrong with it and leave with 78."""
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            say(str(problem), fg="red", err=True)
        sys.exit(EX_CONFIG)


def clock() -> Clock:
    """A clock that shows what time it is, and stands still."""
    standing = Clock()
    standing.advance(runtime.seconds())
    return standing


def loaded(path: Path) -> Config:
    """The configuration in a file, or a complaint."""
    with complaints():
        return file.load(path, os.environ)


def serve(path: Path) -> None:
    """Start the gateway in the foreground, as C{twistd} does."""
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "authotron", "--config", str(path)]
    twistd.run()
