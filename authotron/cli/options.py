"""Code that several commands share: the option C{--config}, and loading a configuration."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authotron.cli.output import say, say_json
from authotron.concurrency.garbage import postpone_full_collections
from authotron.model.errors import EX_CONFIG, ConfigError

if TYPE_CHECKING:  # imported late: not needed for completion or help
    from twisted.internet.task import Clock

    from authotron.config.check import Config


def default_path() -> str:
    """Return the path of the configuration file, for a command line without C{--config}."""
    from authotron.config import file  # noqa: PLC0415 - imported late, for a quick --help

    return file.path_of(os.environ)


config_option: Callable[[Any], Any] = click.option(
    "--config",
    "-c",
    "path",
    # Click does not check whether the file is readable, because the error message of file.load says
    # more.
    type=click.Path(path_type=Path, readable=False),
    default=default_path,
    show_default=os.environ.get("AOT_CONFIG_PATH") or "AOT_CONFIG_PATH, or ./config.yaml",
    help="The configuration file.",
)


json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for other programs."
)


class WithExamples(click.Command):
    """A command or group whose help ends with examples, each on a line of its own."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the help of a command."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)


class Command(WithExamples):
    """A command whose help ends with examples."""


class Group(WithExamples, click.Group):
    """A group of commands whose help ends with examples."""


_UNSUITABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and the surrogates by which Python represents bytes that are not UTF-8."""


def text(given: str) -> str:
    """
    Return a command's argument if it is one line of UTF-8; the error message does not repeat the
    argument.

    @raise BadParameter: the argument has a control character or is not UTF-8.
    """
    if _UNSUITABLE.search(given):
        raise click.BadParameter("has a control character or is not UTF-8")
    return given


@contextmanager
def exit_on_config_error(*, as_json: bool = False) -> Iterator[None]:
    """
    Print the problems of a C{ConfigError} that is raised within the block and exit with 78.

    @param as_json: print the problems as JSON to standard output.
    """
    try:
        yield
    except ConfigError as error:
        if as_json:
            problems = [
                {"path": each.path, "message": each.message, "origin": each.origin or None}
                for each in error.problems
            ]
            say_json({"good": False, "problems": problems})
        else:
            for problem in error.problems:
                say(str(problem), fg="red", err=True)
        sys.exit(EX_CONFIG)


def clock() -> Clock:
    """Return a clock that shows the time of the call for ever."""
    from twisted.internet.task import Clock  # noqa: PLC0415 - imported late, for a quick --help
    from twisted.python import runtime  # noqa: PLC0415 - imported late, for a quick --help

    standing = Clock()
    standing.advance(runtime.seconds())
    return standing


def load_config(path: Path, *, as_json: bool = False) -> Config:
    """Load the configuration in a file; if it has problems, print them and exit with 78."""
    from authotron.config import file  # noqa: PLC0415 - imported late, for a quick --help

    with exit_on_config_error(as_json=as_json):
        return file.load(path, os.environ)


def choose_event_loop() -> None:
    """
    Install the reactor of a command that runs the gateway, before a module imports the reactor.

    If the configured event loop cannot be used, the problem is printed and the command exits with
    78.
    """
    from authotron.daemon import event_loop  # noqa: PLC0415 - imported late, for a quick --help

    with exit_on_config_error():
        event_loop.choose(os.environ, event_loop.installed_reactor())


def serve(path: Path, *further: str) -> None:
    """
    Start the gateway in the foreground, as C{twistd} does.

    @param further: more options for C{twistd authotron}.
    """
    from authotron.daemon import postponed  # noqa: PLC0415 - imported late, for a quick --help

    postpone_full_collections()
    postponed.postpone()
    from authotron.daemon import twistd  # noqa: PLC0415 - imports what is postponed

    twistd.run(["--config", str(path), *further])
