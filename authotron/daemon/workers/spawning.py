"""Start of a worker process: its command, environment, descriptors and configuration."""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from authotron.config.check import Config

_FIRST_SOCKET = 3
"""Descriptor of the first listening socket that a worker inherits, as in sd_listen_fds(3)."""

SOCKETS_VARIABLE, HAS_SERVED_VARIABLE = "AUTHOTRON_WORKER", "AUTHOTRON_HAS_SERVED"
PLACE_VARIABLE = "AUTHOTRON_PLACE"
"""
Environment variables of a worker: the protocols of the listening sockets that it inherits,
separated by commas, whether the service has served requests before, and the place of the worker in
the shared memory with the numbers of connections.
"""

_SUPERVISOR_VARIABLES = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
)
"""Variables by which systemd communicates with the supervisor; workers do not get them."""

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@frozen
class Descriptors:
    """
    The numbers of the descriptors that a worker inherits.

    A worker process inherits the listening sockets, two pipes to the supervisor, the configuration,
    and the numbers of connections of all workers. The worker gets its configuration from the
    supervisor and not from the file: a worker that replaces a lost one serves the same as the
    others, even if the file has changed.

    @ivar protocols: the protocol that is served at each listening socket.
    """

    protocols: tuple[str, ...]

    @property
    def sockets(self) -> range:
        """The listening sockets."""
        return range(_FIRST_SOCKET, _FIRST_SOCKET + len(self.protocols))

    @property
    def input(self) -> int:
        """The pipe from which the worker reads messages of the supervisor."""
        return _FIRST_SOCKET + len(self.protocols)

    @property
    def output(self) -> int:
        """The pipe to which the worker writes messages for the supervisor."""
        return self.input + 1

    @property
    def config(self) -> int:
        """The descriptor of the file in memory that holds the configuration."""
        return self.input + 2

    @property
    def counts(self) -> int:
        """The descriptor of the shared memory with the numbers of connections."""
        return self.input + 3

    def as_child_fds(
        self, sockets: Sequence[int], config: int, counts: int
    ) -> dict[int, int | str]:
        """
        Map the descriptors of the worker to those of the supervisor, in the form of
        C{spawnProcess}.

        @param sockets: the listening sockets of the supervisor.
        @param config: the supervisor's descriptor of the sealed file that contains the
            configuration.
        @param counts: the supervisor's descriptor of the shared memory with the numbers of
            connections.
        """
        standard: dict[int, int | str] = {0: 0, 1: 1, 2: 2}
        return {
            **standard,
            **dict(zip(self.sockets, sockets, strict=True)),
            self.input: "w",
            self.output: "r",
            self.config: config,
            self.counts: counts,
        }


def command(entry: str = "authotron.daemon.workers.entry", *arguments: str) -> list[str]:
    """
    Return the command that starts a worker, or another process of the gateway, with the same Python
    interpreter and modules as this process.

    @param entry: the module whose function C{main} is called.
    @param arguments: the arguments of the command, which C{main} finds in C{sys.argv}.
    """
    switches = {"-I": sys.flags.isolated, "-S": sys.flags.no_site, "-B": sys.dont_write_bytecode}
    path = f"import sys; sys.path[:] = {sys.path!r}"
    # Ctrl-C and SIGHUP at a terminal reach workers, too, even while workers are still starting.
    ignore = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2)]"
    code = f"{ignore}; {path}; from {entry} import main; main()"
    options = (switch for switch, on in switches.items() if on)
    return [sys.executable, *options, "-c", code, *arguments]


def environment(
    protocols: Sequence[str],
    environ: Mapping[str, str],
    *,
    has_served: bool = False,
    place: int | None = None,
) -> dict[str, str]:
    """
    Return the environment of a worker: the environment of the supervisor without the variables of
    systemd.

    @param protocols: the protocol of each listening socket that the worker inherits.
    @param has_served: whether the service has served requests before. If C{has_served} is true and
        the token store cannot be opened because of a configuration error, the worker goes on
        without the token store, instead of ending the service.
    @param place: the place of the worker in the shared memory with the numbers of connections, or
        C{None}.
    """
    inherited = {
        name: value for name, value in environ.items() if name not in _SUPERVISOR_VARIABLES
    }
    own = {SOCKETS_VARIABLE: ",".join(protocols)}
    if has_served:
        own[HAS_SERVED_VARIABLE] = "1"
    if place is not None:
        own[PLACE_VARIABLE] = str(place)
    return {**inherited, **own}


@frozen(eq=False)
class SealedConfig:
    """
    A configuration, and a sealed file in memory that holds it for workers, secrets included.

    The sealed file does not contain the warnings about the configuration, because the supervisor
    has logged them already. The seals prevent a worker from changing what the next worker reads.
    """

    config: Config
    descriptor: int

    @classmethod
    def of(cls, config: Config) -> SealedConfig:
        """
        Write a configuration to a file in memory, and seal the file against changes
        (memfd_create(2)).

        @raise OSError: the system has no memory or no descriptor left.
        """
        descriptor = os.memfd_create("authotron", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                pickle.dump(evolve(config, warnings=()), file)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(config, descriptor)

    def close(self) -> None:
        """Close the descriptor by which this process holds the sealed file."""
        os.close(self.descriptor)


def read_config(descriptor: int) -> Config:
    """
    Read the configuration from the sealed file of the supervisor, and close the descriptor of the
    file.
    """
    content = os.pread(
        descriptor, os.fstat(descriptor).st_size, 0
    )  # os.pread is used because all workers share the read position of the file
    os.close(descriptor)
    config: Config = pickle.loads(content)  # noqa: S301 - the supervisor has written the pickled object
    return config
