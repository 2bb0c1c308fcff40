"""Events to lines."""

from __future__ import annotations

import io
import json
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.internet import tcp
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python import log as older
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import schema
from authotron.telemetry.logs import Log


class LogCase(SynchronousTestCase):
    """How to write, and what was written."""

    def setUp(self) -> None:
        self.stream = io.StringIO()

    def log(self, **given: Any) -> Log:
        return Log(schema.LoggingConfig(**given), self.stream)

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    def write(self, log: Log, text: str = "hello", level: str = "info", **fields: Any) -> None:
        log(
            {
                "log_level": LogLevel.lookupByName(level),
                "log_format": text,
                "log_namespace": "authotron.test",
                "log_time": 0.0,
                **fields,
            }
        )


class JsonTests(LogCase):
    """OpenTelemetry-shaped lines."""

    def test_fields(self) -> None:
        """All documented fields, and those of the event as attributes."""
        log = self.log(format="json", service_name="gate", service_version="9")
        self.write(log, "port {port}", event="startup.server.started", port=80, log_time=0.5)
        [line] = self.lines()
        content = json.loads(line)
        self.assertEqual(content.pop("timestamp")[-1], "Z")
        self.assertEqual(
            content,
            {
                "severityText": "INFO",
                "severityNumber": 9,
                "body": "port 80",
                "resource": {"service.name": "gate", "service.version": "9"},
                "attributes": {
                    "port": 80,
                    "event.name": "startup.server.started",
                    "log.namespace": "authotron.test",
                },
            },
        )

    @given(some.text(), some.dictionaries(some.sampled_from("abc"), some.text()))
    def test_always_one_line_T77(self, value: str, fields: dict[str, str]) -> None:
        """Whatever is in an event, it is one line that parses."""
        self.stream = io.StringIO()
        self.write(self.log(format="json"), "{value}", value=value, **fields)
        [line] = self.stream.getvalue().split("\n")[:-1]
        self.assertEqual(line.splitlines(), [line])
        self.assertTrue(line.isascii())
        self.assertEqual(json.loads(line)["severityText"], "INFO")

    def test_failure_T77(self) -> None:
        """A failure tells its type and place, but not its text, which may repeat a secret."""
        try:
            dict[str, str]()["CANARY"]
        except KeyError:
            failure = Failure()
        self.write(self.log(format="json"), level="critical", log_failure=failure)
        [line] = self.lines()
        attributes = json.loads(line)["attributes"]
        self.assertEqual(attributes["exception.type"], "builtins.KeyError")
        self.assertIn("test_failure", attributes["exception.stacktrace"])
        self.assertNotIn("CANARY", line)

    def test_older_failure_T77(self) -> None:
        """So does one that is logged in the older way, in either format."""
        for format_ in ("json", "console"):
            self.stream = io.StringIO()
            log = self.log(format=format_)
            globalLogPublisher.addObserver(log)
            self.addCleanup(globalLogPublisher.removeObserver, log)
            try:
                dict[str, str]()["CANARY"]
            except KeyError:
                older.err(None, "it went wrong")
            globalLogPublisher.removeObserver(log)
            self.assertIn("it went wrong", self.stream.getvalue())
            self.assertNotIn("CANARY", self.stream.getvalue())
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class ConsoleTests(LogCase):
    """Lines for people."""

    def test_line(self) -> None:
        """Time, level, where from, what; no colours where no terminal is."""
        self.write(self.log(), "hello {who}", who="you", log_time=0.0)
        self.assertRegex(self.lines()[0], r"^[0-9T:.-]+Z INFO  authotron\.test: hello you$")

    @given(some.text())
    def test_one_line_T77(self, value: str) -> None:
        """Nothing in an event ends the line or moves the cursor."""
        self.stream = io.StringIO()
        self.write(self.log(), "{value}", value=value)
        text = self.stream.getvalue()
        self.assertEqual(len(text.splitlines()), 1)
        self.assertTrue(text[:-1].isprintable())


class LevelTests(LogCase):
    """What is written."""

    def test_levels(self) -> None:
        """Nothing below the configured level."""
        for level, wanted in (("trace", 5), ("debug", 5), ("info", 4), ("warn", 3), ("error", 2)):
            with self.subTest(level):
                self.stream = io.StringIO()
                log = self.log(level=level)
                for each in ("debug", "info", "warn", "error", "critical"):
                    self.write(log, level=each)
                self.assertEqual(len(self.lines()), wanted)

    def test_others(self) -> None:
        """What Twisted says counts one level lower, but for errors."""
        log = self.log()
        self.write(log, log_namespace="twisted.web", level="info")
        self.assertEqual(self.lines(), [])
        self.write(log, log_namespace="twisted.web", level="error")
        self.assertEqual(len(self.lines()), 1)

    def test_plugins_D4(self) -> None:
        """What plugins say counts as they say, whatever they are called."""
        log = self.log()
        for namespace in ("my_plugin.robots", "robots", "twistedly.own"):
            for level in ("info", "warn"):
                self.write(log, log_namespace=namespace, level=level)
        self.write(log, log_namespace="my_plugin.robots", level="debug")
        self.assertEqual(len(self.lines()), 6)

    def test_warnings_of_libraries_D4(self) -> None:
        """A warning of a library is written, as something of interest."""
        log = self.log()
        self.write(log, log_namespace="twisted.web.http.HTTPChannel", level="warn")
        [line] = self.lines()
        self.assertIn("INFO", line)

    def test_throttled(self) -> None:
        """Of a flood of one warning ten pass; the next later says how many did not."""
        log = self.log()
        for _ in range(25):
            self.write(log, "flood", level="warn", log_time=100.0)
        self.write(log, "other", level="warn", log_time=100.0)
        self.assertEqual(len(self.lines()), 11)
        self.write(log, "flood", level="warn", log_time=111.0)
        self.assertIn("(15 events like this were dropped)", self.lines()[-1])

    def test_information_is_not_throttled(self) -> None:
        """What one request did is told for each request."""
        log = self.log()
        for _ in range(25):
            self.write(log, "request", log_time=100.0)
        self.assertEqual(len(self.lines()), 25)


class SystemTests(LogCase):
    """What the system around it has to do with it."""

    def test_journal(self) -> None:
        """To the journal of systemd: a priority instead of a time."""
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as stream:  # noqa: PTH123 - as short as it can be
            found = os.fstat(stream.fileno())
            self.patch(os, "environ", {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
            self.write(Log(schema.LoggingConfig(), stream), level="warn")
            self.patch(os, "environ", {"JOURNAL_STREAM": "1:1"})
            self.write(Log(schema.LoggingConfig(), stream), level="warn")
        with open(path, encoding="utf-8") as stream:  # noqa: PTH123 - as above
            first, second = stream.read().splitlines()
        self.assertEqual(first, "<4>authotron.test: hello")
        self.assertTrue(second.startswith("1970-01-01T00:00:00.000Z WARN"), second)

    def test_out_of_files(self) -> None:
        """That there are no more open files is an error, which Twisted mentions only by the way."""
        text = tcp_words("EMFILE encountered; releasing reserved file descriptor.")
        self.write(self.log(), text, log_namespace="twisted.internet.tcp.Port")
        [line] = self.lines()
        self.assertIn(
            "ERROR authotron.telemetry.logs: the process has no file descriptors left", line
        )


def tcp_words(text: str) -> str:
    """
    The same text, if Twisted still says it.

    @raise AssertionError: it does not.
    """
    constants = [const for const in tcp._accept.__code__.co_consts if isinstance(const, str)]
    assert text in constants, constants
    return text
