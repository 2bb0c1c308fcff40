"""Write log events as lines: console text, or JSON in the OpenTelemetry data model."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache, partial
from string import Formatter
from typing import TextIO

from attrs import define, field
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.config.schema import LoggingConfig
from authotron.telemetry.output import Output
from authotron.telemetry.terminal import visible

_SEVERITIES = {
    LogLevel.debug: ("DEBUG", 5),
    LogLevel.info: ("INFO", 9),
    LogLevel.warn: ("WARN", 13),
    LogLevel.error: ("ERROR", 17),
    LogLevel.critical: ("FATAL", 21),
}
"""Severity text and severity number of each log level, by the OpenTelemetry log data model."""

_LIBRARIES = frozenset(
    {"twisted", "log_legacy", "klein", "treq", "ldaptor", "txmongo", "txacme", "zope", "-", ""}
)
"""First parts of the log namespaces of Twisted, and of libraries that log through Twisted."""

_LOWER = {LogLevel.warn: LogLevel.info, LogLevel.info: LogLevel.debug}
"""
The level at which a log event of a library is written, for each level that the library may have
chosen; a level that is not a key here is kept.
"""

_LOWEST = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17}
"""The lowest severity number of log events that are written, for each configured level."""

_PRIORITIES = {5: 7, 9: 6, 13: 4, 17: 3, 21: 2}
"""The syslog priority for each severity number, see sd-daemon(3)."""

_COLOURS = {5: "\x1b[2m", 9: "\x1b[32m", 13: "\x1b[33m", 17: "\x1b[31m", 21: "\x1b[31;1m"}
"""The escape sequence of the terminal colour for each severity number."""

_LONGEST = 2_000
"""
Maximum number of characters of a log message, or of an attribute of a log
event, that are written.
"""

_OLDER = frozenset({"message", "time", "isError", "format", "failure", "why", "system"})
"""Fields of log events from L{twisted.python.log} that are not written as attributes."""

_BURST, _WINDOW = 10, 10.0
"""
Maximum number of similar log events that are written within a number of seconds, and this number of
seconds.
"""

_OUT_OF_FILES = "EMFILE encountered; releasing reserved file descriptor."
"""
The log message of L{twisted.internet.tcp} when the process has no file descriptors left, and
rejects clients.
"""

_REJECTING = {
    "log_level": LogLevel.error,
    "log_namespace": "authotron.telemetry.logs",
    "log_format": "the process has no file descriptors left, rejecting clients; raise LimitNOFILE=",
    "event": "server.files.exhausted",
}

_DROPPED = {
    "log_level": LogLevel.warn,
    "log_namespace": "authotron.telemetry.logs",
    "log_format": "{count} log lines were dropped, because standard output was not read",
    "event": "logs.dropped",
}


class _Kind(Enum):
    """
    The kinds of streams that log lines are written to; each kind needs another prefix at the
    beginning of a line.
    """

    TERMINAL = "terminal"
    JOURNAL = "journal"
    OTHER = "other"


@define(eq=False)
class _Throttle:
    """Limits similar log events to 10 in 10 seconds, and counts the events that are dropped."""

    _seen: dict[str, tuple[float, int]] = field(factory=dict)

    def passes(self, kind: str, now: float) -> int | None:
        """
        Return how many similar events were dropped before an event that is to be written, or
        C{None} if this event itself must be dropped.
        """
        since, count = self._seen.get(kind, (now, 0))
        if now - since >= _WINDOW:
            since, dropped, count = now, max(0, count - _BURST), 0
        else:
            dropped = 0
        self._seen[kind] = (since, count + 1)
        return dropped if count < _BURST else None


@implementer(ILogObserver)
@define(eq=False)
class Log:
    """
    The log observer of the process, which writes log events to standard output.

    Log events of libraries, which seldom matter to an operator, are written one level lower than
    the library chose, unless they are errors. Log events of plugins keep their level.

    @ivar writes_debug: whether log events of level C{debug} are written. Code that runs for each
        request checks C{writes_debug} before it creates a log event of level C{debug}.
    @ivar writes_info: whether log events of level C{info} are written.
    """

    _config: LoggingConfig = field(factory=LoggingConfig)
    _stream: TextIO | None = None
    _throttle: _Throttle = field(factory=_Throttle, init=False)
    _output: Output = field(factory=Output, init=False)
    _kind: tuple[TextIO, _Kind] | None = field(default=None, init=False)
    _resource: dict[str, str] = field(factory=dict, init=False)
    writes_debug: bool = field(default=False, init=False)
    writes_info: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self.configure(self._config)

    def configure(self, config: LoggingConfig) -> None:
        """Apply the section C{logging} of a configuration."""
        self._config = config
        self._resource = {
            "service.name": config.service_name,
            "service.version": config.service_version,
        }
        self.writes_debug = _LOWEST[config.level] <= _LOWEST["debug"]
        self.writes_info = _LOWEST[config.level] <= _LOWEST["info"]

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_format") == _OUT_OF_FILES:
            event = {**event, **_REJECTING}
        severity, number = _severity(event)
        if number < _LOWEST[self._config.level]:
            return
        dropped = 0
        if number >= _LOWEST["warn"]:
            kind = f"{event.get('event', '')} {event.get('log_format', '')}"
            passed = self._throttle.passes(kind, float(event["log_time"]))
            if passed is None:
                return
            dropped = passed
        write = self._json if self._config.format == "json" else self._console
        stream = self._stream or sys.__stdout__
        if stream is not None:
            line = write(event, severity, number, dropped)
            self._output.write(stream, line, partial(self._report_dropped, write, event))

    def _report_dropped(self, write: Callable[..., str], later: LogEvent, count: int) -> str:
        """
        Return a log line that tells how many lines were dropped because standard output was not
        read.
        """
        event = {**_DROPPED, "count": count, "log_time": later["log_time"]}
        return write(event, *_SEVERITIES[LogLevel.warn], 0)

    @property
    def dropped(self) -> int:
        """The number of lines that were dropped, because standard output was not read."""
        return self._output.dropped

    def _json(self, event: LogEvent, severity: str, number: int, dropped: int) -> str:
        attributes = {
            name: _plain(value)
            for name, value in event.items()
            if not name.startswith("log_") and name not in _OLDER
        }
        if "event" in attributes:
            name = attributes["event.name"] = str(attributes.pop("event"))
            attributes["event.domain"] = name.partition(".")[0]
        if dropped:
            attributes["suppressed"] = dropped
        if (failure := _failure(event)) is not None:
            attributes.update(_exception(failure))
        return json.dumps(
            {
                "severityText": severity,
                "severityNumber": number,
                "body": _body(event),
                "timestamp": _timestamp(event),
                "resource": self._resource,
                "attributes": {**attributes, "log.namespace": event.get("log_namespace", "")},
            }
        )

    def _console(self, event: LogEvent, severity: str, number: int, dropped: int) -> str:
        text = f"{event.get('log_namespace', '')}: {_body(event)}"
        if dropped:
            text += f" ({dropped} events like this were dropped)"
        if (failure := _failure(event)) is not None:
            text += " ".join(["", *_exception(failure).values()])
        kind = self._kind_of_stream()
        if kind is _Kind.JOURNAL:
            return f"<{_PRIORITIES[number]}>{visible(text)}"
        colour, end = (_COLOURS[number], "\x1b[0m") if kind is _Kind.TERMINAL else ("", "")
        return f"{_timestamp(event)} {colour}{severity:5}{end} {visible(text)}"

    def _kind_of_stream(self) -> _Kind:
        """
        Return what kind of stream the log lines go to; the kind of a stream is determined once, and
        then remembered.
        """
        stream = self._stream or sys.__stdout__
        if stream is None:
            return _Kind.OTHER
        if self._kind is None or self._kind[0] is not stream:
            self._kind = (stream, _kind(stream))
        return self._kind[1]


def _kind(stream: TextIO) -> _Kind:
    """
    Return the kind of a stream, such as a terminal or the journal of systemd.

    The environment variable C{JOURNAL_STREAM} tells which stream systemd sends to its journal, see
    systemd.exec(5).
    """
    if stream.isatty():
        return _Kind.TERMINAL
    if journal := os.environ.get("JOURNAL_STREAM"):
        with suppress(OSError, ValueError):  # fileno() fails if the stream has no file descriptor
            found = os.fstat(stream.fileno())
            if journal == f"{found.st_dev}:{found.st_ino}":
                return _Kind.JOURNAL
    return _Kind.OTHER


def _severity(event: LogEvent) -> tuple[str, int]:
    level = event.get("log_level", LogLevel.info)
    library = str(event.get("log_namespace", "")).partition(".")[0] in _LIBRARIES
    return _SEVERITIES[_LOWER.get(level, level) if library else level]


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)[:_LONGEST]


def _body(event: LogEvent) -> str:
    if event.get("isError") and _failure(event) is not None:
        # An event of twisted.python.log contains the message of the exception, which may be secret.
        return str(event.get("why") or "unexpected failure")[:_LONGEST]
    with suppress(Exception):  # formatEvent describes a wrong format or value
        if _names_only(event["log_format"]):
            return str(event["log_format"]).format_map(event)[:_LONGEST]
    return formatEvent(event)[:_LONGEST]


def _failure(event: LogEvent) -> Failure | None:
    return event.get("log_failure") or event.get("failure")


def _timestamp(event: LogEvent) -> str:
    second, thousandths = divmod(int(event["log_time"] * 1000), 1000)
    return f"{_second(second)}.{thousandths:03}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    """Return the date and time of a second since the epoch, cached for log lines that follow."""
    return datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "")


@lru_cache(maxsize=1024)
def _names_only(text: str) -> bool:
    """
    Return whether each field of a format is a name, so that C{str.format_map} formats a log event
    as Twisted does, but four times faster.
    """
    return all(name is None or name.isidentifier() for _, name, _, _ in Formatter().parse(text))


def _exception(failure: Failure) -> dict[str, str]:
    """
    Describe the type of an exception and where it was raised.

    The message of an exception may contain a secret, so it is logged only for errors of the
    operating system (L{OSError}).
    """
    frames = traceback.extract_tb(failure.getTracebackObject())
    where = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames[::-1])
    text = str(failure.value) if isinstance(failure.value, OSError) else ""
    kind = type(failure.value)
    return {
        "exception.type": f"{kind.__module__}.{kind.__qualname__}",
        "exception.message": text[:_LONGEST],
        "exception.stacktrace": where[:_LONGEST],
    }


log = Log()
"""
The log observer of this process, which the service configures when it starts or reloads the
configuration.
"""


def observer() -> Callable[[LogEvent], None]:
    """Return the log observer for C{twistd --logger=authotron.telemetry.logs.observer}."""
    return log
