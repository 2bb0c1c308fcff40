"""Log events as lines."""

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
    """Write events, and read the lines."""

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
    """JSON in the OpenTelemetry data model."""

    def test_json_has_the_documented_fields(self) -> None:
        """A JSON line has all documented fields, and those of the event as attributes."""
        log = self.log(format="json", service_name="gate", service_version="9")
        self.write(log, "port {port}", event="startup.server.listening", port=80, log_time=0.5)
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
                    "event.name": "startup.server.listening",
                    "event.domain": "startup",
                    "log.namespace": "authotron.test",
                },
            },
        )

    def test_events_have_a_domain_H_LOGS(self) -> None:
        """The domain of an event is the first word of its name; an unnamed event has none."""
        log = self.log(format="json")
        for name, domain in (("auth.request.authenticated", "auth"), ("store.opened", "store")):
            self.write(log, "x", event=name)
            self.assertEqual(json.loads(self.lines()[-1])["attributes"]["event.domain"], domain)
        self.write(log, "x")
        self.assertNotIn("event.domain", json.loads(self.lines()[-1])["attributes"])

    @given(some.text(), some.dictionaries(some.sampled_from("abc"), some.text()))
    def test_json_is_always_one_line_T77(self, value: str, fields: dict[str, str]) -> None:
        """Whatever an event contains, it becomes one line of valid JSON."""
        self.stream = io.StringIO()
        self.write(self.log(format="json"), "{value}", value=value, **fields)
        [line] = self.stream.getvalue().split("\n")[:-1]
        self.assertEqual(line.splitlines(), [line])
        self.assertTrue(line.isascii())
        self.assertEqual(json.loads(line)["severityText"], "INFO")

    def test_text_of_an_exception_is_not_logged_T77(self) -> None:
        """A failure is logged with type and place, but without its text, which may be a secret."""
        try:
            dict[str, str]()["CANARY"]
        except KeyError:
            failure = Failure()
        self.write(self.log(format="json"), level="critical", log_failure=failure)
        [line] = self.lines()
        attributes = json.loads(line)["attributes"]
        self.assertEqual(attributes["exception.type"], "builtins.KeyError")
        self.assertIn("test_text_of_an_exception", attributes["exception.stacktrace"])
        self.assertNotIn("CANARY", line)

    def test_text_of_an_older_failure_is_not_logged_T77(self) -> None:
        """A failure logged by twisted.python.log is logged without its text, in both formats."""
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
    """Console lines."""

    def test_console_line(self) -> None:
        """A console line has time, level, namespace and text, and colours only at a terminal."""
        self.write(self.log(), "hello {who}", who="you", log_time=0.0)
        self.assertRegex(self.lines()[0], r"^[0-9T:.-]+Z INFO  authotron\.test: hello you$")

    @given(some.text())
    def test_console_is_always_one_line_T77(self, value: str) -> None:
        """No text of an event can end the line or move the cursor."""
        self.stream = io.StringIO()
        self.write(self.log(), "{value}", value=value)
        text = self.stream.getvalue()
        self.assertEqual(len(text.splitlines()), 1)
        self.assertTrue(text[:-1].isprintable())


class LevelTests(LogCase):
    """Levels and throttling."""

    def test_events_below_the_level_are_not_written(self) -> None:
        """Events below the configured level are not written."""
        for level, wanted in (("trace", 5), ("debug", 5), ("info", 4), ("warn", 3), ("error", 2)):
            with self.subTest(level):
                self.stream = io.StringIO()
                log = self.log(level=level)
                for each in ("debug", "info", "warn", "error", "critical"):
                    self.write(log, level=each)
                self.assertEqual(len(self.lines()), wanted)

    def test_library_events_are_one_level_lower(self) -> None:
        """Events of Twisted are written one level lower, but for errors."""
        log = self.log()
        self.write(log, log_namespace="twisted.web", level="info")
        self.assertEqual(self.lines(), [])
        self.write(log, log_namespace="twisted.web", level="error")
        self.assertEqual(len(self.lines()), 1)

    def test_plugin_events_keep_their_level_W_PLUGIN_D4(self) -> None:
        """Events of plugins are written at their own level, whatever the plugin is called."""
        log = self.log()
        for namespace in ("my_plugin.robots", "robots", "twistedly.own"):
            for level in ("info", "warn"):
                self.write(log, log_namespace=namespace, level=level)
        self.write(log, log_namespace="my_plugin.robots", level="debug")
        self.assertEqual(len(self.lines()), 6)

    def test_library_warning_is_written_as_info_D4(self) -> None:
        """A warning of a library is written at level info."""
        log = self.log()
        self.write(log, log_namespace="twisted.web.http.HTTPChannel", level="warn")
        [line] = self.lines()
        self.assertIn("INFO", line)

    def test_repeated_warnings_are_dropped_and_counted(self) -> None:
        """Of many equal warnings ten are written; a later one says how many were dropped."""
        log = self.log()
        for _ in range(25):
            self.write(log, "flood", level="warn", log_time=100.0)
        self.write(log, "other", level="warn", log_time=100.0)
        self.assertEqual(len(self.lines()), 11)
        self.write(log, "flood", level="warn", log_time=111.0)
        self.assertIn("(15 events like this were dropped)", self.lines()[-1])

    def test_info_is_not_throttled(self) -> None:
        """Events of level info are written for each request."""
        log = self.log()
        for _ in range(25):
            self.write(log, "request", log_time=100.0)
        self.assertEqual(len(self.lines()), 25)


class FormatTests(LogCase):
    """Messages whose format is more than names."""

    def test_formats_of_every_kind(self) -> None:
        """Names, attributes, calls, conversions and doubled braces are formatted as by Twisted."""
        log = self.log()
        error = OSError(2, "missing")
        text = "{error.errno} {call()} {given!r} {{x}} {n:03}"
        self.write(log, text, error=error, call=lambda: "called", given="a", n=7)
        self.write(log, "{given!r} {{x}} {n:03}", given="a", n=7)
        first, second = self.lines()
        self.assertTrue(first.endswith("authotron.test: 2 called 'a' {x} 007"), first)
        self.assertTrue(second.endswith("authotron.test: 'a' {x} 007"), second)

    def test_missing_value(self) -> None:
        """A format that names a missing value is still written, with what is wrong about it."""
        self.write(self.log(), "the port {port}")
        [line] = self.lines()
        self.assertIn("Unable to format event", line)
        self.assertIn("port", line)

    def test_times_within_a_second(self) -> None:
        """Each line has the date and time of its own event, in milliseconds."""
        log = self.log()
        for moment in (1.25, 1.75, 86400.001953125):
            self.write(log, log_time=moment)
        self.assertEqual(
            [line.split()[0] for line in self.lines()],
            ["1970-01-01T00:00:01.250Z", "1970-01-01T00:00:01.750Z", "1970-01-02T00:00:00.001Z"],
        )


class SystemTests(LogCase):
    """The journal of systemd, and missing file descriptors."""

    def test_journal_gets_a_priority(self) -> None:
        """Lines for the journal of systemd begin with a priority instead of a time."""
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

    def test_missing_file_descriptors_are_an_error(self) -> None:
        """That no file descriptors are left is an error, though Twisted logs it as information."""
        text = tcp_words("EMFILE encountered; releasing reserved file descriptor.")
        self.write(self.log(), text, log_namespace="twisted.internet.tcp.Port")
        [line] = self.lines()
        self.assertIn(
            "ERROR authotron.telemetry.logs: the process has no file descriptors left", line
        )


def tcp_words(text: str) -> str:
    """
    Return a log message of Twisted.

    @raise AssertionError: this version of Twisted does not log the message.
    """
    constants = [const for const in tcp._accept.__code__.co_consts if isinstance(const, str)]
    assert text in constants, constants
    return text
