"""Code that several commands share: the option C{--config}, and loading a configuration."""

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
    # file.load explains better than click why a file cannot be read
    type=click.Path(path_type=Path, readable=False),
    default=lambda: file.path_of(os.environ),
    show_default="AOT_CONFIG_PATH, or ./config.yaml",
    help="The configuration file.",
)


_UNSUITABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and the surrogates by which Python represents bytes that are not UTF-8."""


def text(given: str) -> str:
    """
    Return a command's argument if it is one line of UTF-8; the error does not repeat the argument.

    @raise BadParameter: the argument has a control character or is not UTF-8.
    """
    if _UNSUITABLE.search(given):
        raise click.BadParameter("has a control character or is not UTF-8")
    return given


@contextmanager
def exit_on_config_error() -> Iterator[None]:
    """Print the problems of a C{ConfigError} that is raised within the block and exit with 78."""
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            say(str(problem), fg="red", err=True)
        sys.exit(EX_CONFIG)


def clock() -> Clock:
    """Return a clock that shows the current time and stands still."""
    standing = Clock()
    standing.advance(runtime.seconds())
    return standing


def load_config(path: Path) -> Config:
    """Load the configuration in a file; if it has problems, print them and exit with 78."""
    with exit_on_config_error():
        return file.load(path, os.environ)


def serve(path: Path) -> None:
    """Start the gateway in the foreground, as C{twistd} does."""
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "authotron", "--config", str(path)]
    twistd.run()
