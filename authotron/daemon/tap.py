"""The plugin of C{twistd}: its options, and the service that C{twistd authotron} starts."""

from __future__ import annotations

import linecache
import os
import sys
from pathlib import Path
from typing import cast

from twisted.application.service import IService
from twisted.python import usage

from authotron.concurrency.reactor import IGatewayReactor
from authotron.config import file
from authotron.config.check import Config
from authotron.daemon import config_reader, event_loop, http_1, leftovers
from authotron.model.errors import EX_CONFIG, ConfigError
from authotron.telemetry.terminal import visible


class Options(usage.Options):
    """The options of C{twistd authotron}."""

    optParameters = [  # noqa: RUF012 - the form that twistd expects
        ["config", "c", None, "configuration file (default: AOT_CONFIG_PATH, or ./config.yaml)"]
    ]
    optFlags = [  # noqa: RUF012 - the form that twistd expects
        ["check", None, "check the configuration, list its problems, and exit"],
        ["interactive", None, "exit with 0 after Ctrl-C, so that make(1) reports no failure"],
    ]
    config: Config

    def load(self) -> Config:
        """
        Read the configuration file.

        @raise ConfigError: the configuration is invalid; the error lists all its problems.
        """
        return file.load(self.path(), os.environ)

    def path(self) -> Path:
        """Return the path of the configuration file."""
        return Path(self["config"] or file.path_of(os.environ))

    def postOptions(self) -> None:
        """
        Install the reactor and read the configuration, before anything is started.

        @raise SystemExit: the configuration or the wanted event loop cannot be used (78), or
            C{--check} was given (0).
        """
        try:
            if not self["check"]:
                self._choose_event_loop()
                http_1.import_http_1_alone()
            self.config = self.load()
        except ConfigError as error:
            raise refused(error) from None
        if self["check"]:
            raise SystemExit(0)
        if self.parent is not None and self.parent.get("pidfile"):
            leftovers.remove_stale_pid_file(Path(self.parent["pidfile"]))
        if self.parent is not None and not self.parent.get("logger"):
            self.parent["logger"] = "authotron.telemetry.logs.observer"

    def _choose_event_loop(self) -> None:
        """
        Install the reactor; no module may have imported the reactor before.

        @raise ConfigError: the wanted event loop cannot be used.
        """
        if self.parent is not None:
            event_loop.prefer(os.environ, str(self.parent.get("reactor")))
        event_loop.choose(os.environ, event_loop.installed_reactor())


def makeService(options: Options, reactor: IGatewayReactor | None = None) -> IService:
    """
    Build the gateway, with one process or with a supervisor of several.

    @raise SystemExit: a plugin, or a file that the configuration names, cannot be used (78).
    """
    linecache.clearcache()  # attrs keeps the sources of generated methods there: 0.4 MiB
    from authotron.daemon import process  # noqa: PLC0415 - this module imports the reactor that Options chose

    if reactor is None:
        from twisted.internet import reactor as running  # noqa: PLC0415, TID251 - this is the only place that imports the reactor

        reactor = cast(IGatewayReactor, running)
    is_interactive = bool(options["interactive"])
    load = config_reader.ConfigReader(options.path(), reactor)
    try:
        return process.build(load, options.config, reactor, is_interactive=is_interactive)
    except ConfigError as error:
        raise refused(error) from None


def refused(error: ConfigError) -> SystemExit:
    """Print all problems to standard error, and return the exception that exits with status 78."""
    for problem in error.problems:
        print(visible(str(problem)), file=sys.stderr)  # noqa: T201 - logging has not started, so print
    return SystemExit(EX_CONFIG)
