"""Messages between the supervisor and its workers: one line of JSON each, over pipes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

MAX_LINE = 4 * 1024 * 1024
"""
Maximum number of bytes of a message; a message with the metrics of a worker has about 10,000 bytes.
"""

Action = Callable[[Any], Any]
"""
A function that acts on a message: it takes the content of the message, and returns a result or a
Deferred.
"""


class PeerError(Exception):
    """The other process has ended, or failed to do what the message asked."""


@frozen
class Notification:
    """A message that needs no answer."""

    word: str
    content: Any = None


@frozen
class Question:
    """A message with a number, which the other process repeats in its answer."""

    number: int
    word: str
    content: Any = None


@frozen
class Answer:
    """A message that answers the request message with the same number."""

    number: int
    content: Any = None


@frozen
class Failed:
    """
    An answer which reports that the other process could not do what the message with this number
    asked.
    """

    number: int


Message = Notification | Question | Answer | Failed


def encode(message: Message) -> bytes:
    """Encode a message as a line of JSON."""
    match message:
        case Notification(word, content):
            fields = {"say": word, "with": content}
        case Question(number, word, content):
            fields = {"say": word, "number": number, "with": content}
        case Answer(number, content):
            fields = {"to": number, "with": content}
        case Failed(number):
            fields = {"to": number, "failed": True}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """
    Decode a line of JSON.

    @raise ValueError: the line is not a message.
    """
    try:
        fields = json.loads(line)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None
    match fields:
        case {"say": str(word), "number": int(number)}:
            return Question(number, word, fields.get("with"))
        case {"say": str(word)}:
            return Notification(word, fields.get("with"))
        case {"to": int(number), "failed": True}:
            return Failed(number)
        case {"to": int(number)}:
            return Answer(number, fields.get("with"))
    raise ValueError("the JSON value is not a message")


@define(eq=False)
class MessageChannel:
    """
    One end of the connection between two processes.

    The object that owns the pipes calls C{received} with the bytes that arrive, and C{lost} when
    the pipes close.

    @ivar _actions: maps the name of each message to the function that handles it.
    @ivar _on_broken: called if the other process sends bytes that are not a message; later messages
        cannot be trusted.
    """

    _write: Callable[[bytes], object]
    _actions: Mapping[str, Action]
    _on_broken: Callable[[], object]
    _buffer: bytearray = field(factory=bytearray, init=False)
    _numbers: count[int] = field(factory=count, init=False)
    _unanswered: dict[int, Deferred[Any]] = field(factory=dict, init=False)
    _is_lost: bool = field(default=False, init=False)
    _log = Logger()

    def notify(self, word: str, content: Any = None) -> None:
        """Send a message that needs no answer."""
        self._send(Notification(word, content))

    def ask(self, word: str, content: Any = None) -> Deferred[Any]:
        """
        Send the other process a message that asks for an answer.

        @return: a Deferred that fires with the answer, or fails with L{PeerError}; a caller that
            stops waiting cancels the Deferred.
        """
        number = next(self._numbers)
        answer: Deferred[Any] = Deferred(lambda _: self._drop(number))
        if self._is_lost:
            answer.errback(PeerError(word))
            return answer
        self._unanswered[number] = answer
        self._send(Question(number, word, content))
        return answer

    def received(self, data: bytes) -> None:
        """Take received bytes, and act on every message that they complete."""
        self._buffer += data
        while not self._is_lost and (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._line_received(line)
        if len(self._buffer) > MAX_LINE:
            self._on_broken()

    def lost(self) -> None:
        """Let all messages that wait for an answer fail, and send no further message."""
        self._is_lost = True
        unanswered, self._unanswered = self._unanswered, {}
        for answer in unanswered.values():
            answer.errback(PeerError())

    def _drop(self, number: int) -> None:
        self._unanswered.pop(number, None)

    def _send(self, message: Message) -> None:
        if not self._is_lost:
            self._write(encode(message))

    def _line_received(self, line: bytes) -> None:
        try:
            message = decode(line)
            if isinstance(message, Notification | Question):
                self._act(self._actions[message.word], message)
                return
        except (ValueError, KeyError):
            self._on_broken()
            return
        answer = self._unanswered.pop(message.number, None)
        if answer is None:
            return  # the caller has cancelled its request
        if isinstance(message, Failed):
            answer.errback(PeerError())
        else:
            answer.callback(message.content)

    def _act(self, action: Action, message: Notification | Question) -> None:
        def failed(failure: Failure) -> None:
            self._log.failure(
                "failed to act on message {word} of another process",
                failure,
                word=message.word,
                event="workers.failed",
            )
            if isinstance(message, Question):
                self._send(Failed(message.number))

        def done(result: Any) -> None:
            if isinstance(message, Question):
                self._send(Answer(message.number, result))

        maybeDeferred(action, message.content).addCallback(done).addErrback(failed)
