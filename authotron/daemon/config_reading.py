"""
The program of the process that reads the configuration for a running gateway, and writes the result
to a pipe.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from twisted.logger import globalLogBeginner

from authotron.concurrency.reactor import IGatewayReactor
from authotron.config import file
from authotron.config.check import Config
from authotron.daemon.config_reader import ANSWER, MOST_PROBLEMS, frames
from authotron.model.errors import ConfigError, Problem
from authotron.telemetry import logs
from authotron.telemetry.metrics import Metrics

_NICENESS = 10
"""
The increase of the nice value of the process that reads the configuration, so that requests to the
gateway have priority.
"""


def main() -> None:
    """
    Read the configuration that the command line names, and write the configuration, or its
    problems, to the pipe.
    """
    os.nice(_NICENESS)
    globalLogBeginner.beginLoggingTo([logs.log], redirectStandardIO=False)
    path = Path(sys.argv[-1])
    answer: Config | list[Problem]
    try:
        answer = file.load(path, os.environ)
        logs.log.configure(answer.file.logging)
        _try(answer)
    except ConfigError as error:
        answer = _first(path, error.problems)
    with os.fdopen(ANSWER, "wb") as output:
        output.writelines(frames(answer))
    # The process exits at once, because the interpreter would take seconds to free the memory of a
    # large configuration.
    sys.stdout.flush()
    os._exit(0)


def _try(config: Config) -> None:
    """
    Build the gateway of a configuration to find further problems. Only this process knows the line
    numbers of the configuration file, which the problems name.

    @raise ConfigError: the configuration cannot be used.
    """
    from twisted.internet import reactor as running  # noqa: PLC0415, TID251 - a process has one reactor

    # These modules take long to import, and are needed only if the configuration file is valid.
    from authotron.daemon.compose import compose  # noqa: PLC0415 - imported late
    from authotron.daemon.runtime import Pool, make_world  # noqa: PLC0415 - imported late

    reactor = cast(IGatewayReactor, running)
    compose(config.without_rules(), make_world(reactor, Pool(reactor)), Metrics())


def _first(path: Path, problems: Sequence[Problem]) -> list[Problem]:
    """
    Return the first problems of a configuration, followed by a message with the number of further
    problems.
    """
    more = len(problems) - MOST_PROBLEMS
    further = [Problem(str(path), f"has {more} further problems")] if more > 0 else []
    return [*problems[:MOST_PROBLEMS], *further]
