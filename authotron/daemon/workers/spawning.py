"""How a worker process is started, and what it inherits."""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from authotron.config.check import Config

_FIRST = 3


_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


_OF_OTHERS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS")


@frozen
class Descriptors:
    """
    Which descriptors a worker is given: the sockets, two ends of pipes, the configuration.

    The configuration comes from the supervisor and not from its file, so that a worker that is
    started anew serves what the others do, whatever the file says meanwhile.
    """

    sockets: int

    @property
    def hears(self) -> int:
        return _FIRST + self.sockets

    @property
    def says(self) -> int:
        return self.hears + 1

    @property
    def configuration(self) -> int:
        return self.hears + 2

    def filled(self, sockets: Sequence[int], configuration: int) -> dict[int, int | str]:
        """What is to be in their places, as C{spawnProcess} wants to know it."""
        kept: dict[int, int | str] = {0: 0, 1: 1, 2: 2}
        given = dict(enumerate(sockets, _FIRST))
        return {**kept, **given, self.hears: "w", self.says: "r", self.configuration: configuration}


def command() -> list[str]:
    """What starts a worker with this very program, wherever it was installed."""
    switches = {"-I": sys.flags.isolated, "-S": sys.flags.no_site, "-B": sys.dont_write_bytecode}
    path = f"import sys; sys.path[:] = {sys.path!r}"
    code = f"{path}; from authotron.daemon.workers.worker import main; main()"
    return [sys.executable, *(switch for switch, on in switches.items() if on), "-c", code]


def environment(
    sockets: int, environ: Mapping[str, str], *, proven: bool = False
) -> dict[str, str]:
    """
    That of the supervisor, without what systemd says to it alone.

    @param proven: the service is up: a worker goes on without a store that must not be used, as
        the only process does after a reload.
    """
    kept = {name: value for name, value in environ.items() if name not in _OF_OTHERS}
    return {**kept, _VARIABLE: str(sockets), **({_PROVEN: "1"} if proven else {})}


def sealed(config: Config) -> int:
    """
    A descriptor of a file in memory that holds a configuration, with its secrets.

    Its warnings are not in it: the supervisor has told them. Who gets the descriptor can write as
    well as read, so it is sealed: no worker changes what the next one trusts.
    """
    descriptor = os.memfd_create("authotron", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            pickle.dump(evolve(config, warnings=()), file)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read(descriptor: int) -> Config:
    """The configuration that the supervisor keeps."""
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)  # others read it as well
    os.close(descriptor)
    config: Config = pickle.loads(content)  # noqa: S301 - of the process that started this one
    return config


_VARIABLE, _PROVEN = "AUTHOTRON_WORKER", "AUTHOTRON_PROVEN"
