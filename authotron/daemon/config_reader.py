"""
Read a changed configuration in a separate process, so that the gateway can serve requests
meanwhile.

To read a file of 50 MB takes two minutes of processor time and several gigabytes of memory. The
process that serves requests spends neither this time nor this memory.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from authotron.concurrency.reactor import IGatewayReactor
from authotron.config import file
from authotron.config.check import Config
from authotron.config.packed import Packed
from authotron.daemon.workers import spawning
from authotron.model.errors import ConfigError, Problem
from authotron.net.reasons import describe

if TYPE_CHECKING:  # imported at run time only if a configuration has policies
    from authotron.config.policy_rules import RuleConfig

ANSWER = 3
"""The file descriptor to which the process that reads the configuration writes its result."""

SMALL = 16 * 1024
"""
Maximum size, in bytes, of a configuration file that the gateway reads in its own process, which
takes about 30 ms.
"""

LONGEST = 1800.0
"""Number of seconds after which the process that reads the configuration is killed."""

MOST_PROBLEMS = 100
"""Maximum number of problems of a configuration that are logged."""


def may_be_large(path: Path) -> bool:
    """
    Return whether reading a configuration may take so long that another process should do it: the
    configuration file is large, or has a policy, whose rule files may be large.
    """
    try:
        with path.open("rb") as content:
            start = content.read(SMALL + 1)
    except OSError:
        return False
    return len(start) > SMALL or b"policy" in start or any("POLICY" in name for name in os.environ)


@frozen
class ConfigReader:
    """
    Reads the configuration of a running gateway; a configuration that may be large is read in
    another process.
    """

    _path: Path
    _reactor: IGatewayReactor

    def __call__(self) -> Config | Deferred[Config]:
        """
        Read the configuration.

        @raise ConfigError: the configuration is invalid; the error lists its problems.
        """
        if not may_be_large(self._path):
            return file.load(self._path, os.environ)
        reading = _Reading(self._path)
        command = spawning.command("authotron.daemon.config_reading", str(self._path))
        self._reactor.spawnProcess(
            reading, command[0], command, None, childFDs={0: 0, 1: 1, 2: 2, ANSWER: "r"}
        )
        stop = self._reactor.addSystemEventTrigger("before", "shutdown", reading.stop)
        deadline = self._reactor.callLater(LONGEST, reading.expire)
        return reading.config.addBoth(self._forget, stop, deadline)

    def _forget(self, result: Any, stop: Any, deadline: IDelayedCall) -> Any:
        """
        Pass a result on unchanged, and note that the process that reads the configuration need not
        be stopped.
        """
        self._reactor.removeSystemEventTrigger(stop)
        if deadline.active():
            deadline.cancel()
        return result


_LENGTH = 8
"""
Number of bytes of the length field that precedes each part of the result of the process that reads
the configuration.
"""


def frames(answer: Config | Sequence[Problem]) -> Iterator[bytes]:
    """
    Yield the parts of the output of the process that reads the configuration: first the
    configuration itself, then the pickled pieces of its rules. The gateway joins the pieces without
    unpickling them.

    @param answer: the configuration that was read, or the list of its problems.
    """
    rules: Packed[RuleConfig] = Packed((), 0)
    if isinstance(answer, Config) and answer.policy is not None:
        rules = answer.policy.rules
        answer = answer.with_rules(Packed((), 0))
    for each in (pickle.dumps((answer, len(rules))), *rules.pieces):
        yield len(each).to_bytes(_LENGTH, "big") + each


class _Reading(ProcessProtocol):
    """
    A process that reads the configuration.

    @ivar config: a Deferred that fires with the configuration when the process has ended, or fails
        with L{ConfigError}.
    """

    transport: Any

    def __init__(self, path: Path) -> None:
        self.config: Deferred[Config] = Deferred(lambda _: self.stop())
        self._path = path
        self._received = bytearray()
        self._frames: list[bytes] = []

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803 - the name is Twisted's
        self._received += data
        while len(self._received) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._received[:_LENGTH], "big")
            if len(self._received) < end:
                return
            self._frames.append(bytes(self._received[_LENGTH:end]))
            del self._received[:end]

    def processEnded(self, reason: Failure) -> None:
        if self.config.called:
            return
        if not (reason.check(ProcessDone) and self._frames):
            self._fail(f"has ended: {reason.value}")
            return
        first, *pieces = self._frames
        try:
            answer, length = pickle.loads(first)  # noqa: S301 - trusted: pickled by a process of this gateway
        except Exception as error:  # noqa: BLE001 - the new modules of an upgrade may pickle what the modules of this process cannot read
            self._fail(f"is of another version ({describe(error)}); restart the gateway")
            return
        if isinstance(answer, Config):
            self.config.callback(answer.with_rules(Packed(tuple(pieces), length)))
        else:
            self.config.errback(ConfigError(answer))

    def _fail(self, what: str) -> None:
        why = f"the process that reads the configuration {what}"
        self.config.errback(ConfigError([Problem(str(self._path), why)]))

    def expire(self) -> None:
        """End the process that reads the configuration, because it runs for too long."""
        self.stop()
        self._fail(f"has not ended after {LONGEST:.0f} s")

    def stop(self) -> None:
        """End the process that reads the configuration, if the process is running."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")
