"""A configuration that is read again while the gateway serves requests."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from authotron.config.check import Config
from authotron.daemon.config_reader import ANSWER, LONGEST, SMALL, ConfigReader, frames
from authotron.model.errors import ConfigError, Problem
from tests.config.cases import BASE, ConfigCase


@define(eq=False)
class Reactor(Clock):
    """A reactor whose processes the test ends."""

    child: Any = None
    command: list[str] = field(factory=list)
    triggers: list[Callable[[], None]] = field(factory=list)
    signals: list[str] = field(factory=list)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def spawnProcess(self, child: Any, _path: str, command: list[str], *_: Any, **__: Any) -> None:
        self.child, self.command = child, command
        child.transport = self

    def addSystemEventTrigger(self, _phase: str, _event: str, call: Callable[[], None]) -> Any:
        self.triggers.append(call)
        return call

    def removeSystemEventTrigger(self, trigger: Any) -> None:
        self.triggers.remove(trigger)

    def signalProcess(self, number: str) -> None:
        if self.signals:
            raise ProcessExitedAlready
        self.signals.append(number)

    def ends(self, answer: object = None, status: int = 0) -> None:
        """End the process, with an answer."""
        content = b"".join(frames(answer))  # type: ignore[arg-type] # no answer is not a list either
        for part in (content[:5], content[5:50], content[50:]):
            self.child.childDataReceived(ANSWER, part)
        self.child.processEnded(Failure(ProcessTerminated(status) if status else ProcessDone(None)))


class ConfigReaderTests(ConfigCase):
    """Who reads the configuration: this process, or another one."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = Reactor()
        self.path = self.folder / "config.yaml"
        self.read = ConfigReader(self.path, self.reactor)  # type: ignore[arg-type] # stands in for a reactor

    def problems_of(self, reading: Any) -> list[str]:
        error = self.failureResultOf(reading, ConfigError).value
        return [str(each) for each in error.problems]

    def test_small(self) -> None:
        """A small configuration without a policy is read at once."""
        self.load(BASE)
        self.assertIsInstance(self.read(), Config)
        self.path.write_text("version: 3")
        self.assertRaises(ConfigError, self.read)

    def test_perhaps_large(self) -> None:
        """Another process reads a long file, and one with a policy, whose files may be long."""
        self.load(BASE)
        for text in ("#" * SMALL, "policy: {}"):
            with self.path.open("a") as file:
                file.write(f"\n{text}")
            reading: Any = self.read()
            self.assertNoResult(reading)
            self.assertEqual(self.reactor.command[-1], str(self.path))
            self.reactor.ends([Problem("a", "is wrong")])
            self.assertEqual(self.problems_of(reading), ["a: is wrong"])
            self.load(BASE)

    def test_policy_in_a_variable(self) -> None:
        """Another process reads a configuration whose policy is in the environment."""
        self.load(BASE)
        self.patch(os, "environ", {"AOT_POLICY__DEFAULT": "deny"})
        reading: Any = self.read()
        config = self.load(BASE)
        self.reactor.ends(config)
        self.assertEqual(self.successResultOf(reading), config)

    def test_process_ended(self) -> None:
        """If the process ends without an answer, the reload is refused with the reason."""
        self.load({**BASE, "policy": {}})
        reading: Any = self.read()
        self.reactor.ends(status=1)
        [problem] = self.problems_of(reading)
        self.assertIn("the process that reads the configuration has ended", problem)
        self.assertEqual((self.reactor.triggers, self.reactor.getDelayedCalls()), ([], []))

    def test_answer_of_another_version(self) -> None:
        """
        If an upgrade has replaced the modules, the process may write what this process cannot read;
        the reload is refused with the reason.
        """
        self.load({**BASE, "policy": {}})
        reading: Any = self.read()
        newer = b"cauthotron.newer\nConfig\n."
        self.reactor.child.childDataReceived(ANSWER, len(newer).to_bytes(8, "big") + newer)
        self.reactor.child.processEnded(Failure(ProcessDone(None)))
        [problem] = self.problems_of(reading)
        self.assertIn("is of another version", problem)
        self.assertIn("restart the gateway", problem)

    def test_deadline(self) -> None:
        """A process that reads for too long is killed, and the reload is refused."""
        self.load({**BASE, "policy": {}})
        reading: Any = self.read()
        self.reactor.advance(LONGEST)
        self.assertEqual(self.reactor.signals, ["KILL"])
        [problem] = self.problems_of(reading)
        self.assertIn("has not ended after 1800 s", problem)
        self.reactor.ends(status=1)

    def test_shutdown(self) -> None:
        """When the gateway stops, the process is killed."""
        self.load({**BASE, "policy": {}})
        reading: Any = self.read()
        [stop] = self.reactor.triggers
        stop()
        stop()
        self.assertEqual(self.reactor.signals, ["KILL"])
        self.reactor.ends(status=1)
        self.assertEqual(len(self.problems_of(reading)), 1)
