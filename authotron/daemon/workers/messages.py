"""Two processes of one service speak: lines of JSON, words to hear and questions to answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

LONGEST = 4 * 1024 * 1024
"""Bytes that a line may have; what a worker has counted takes some ten thousand."""


class PeerError(Exception):
    """The other process is gone, or could not do what it was asked for."""


class Answer(Protocol):
    """Does something, and says what came of it: a value, or something to wait for."""

    def __call__(self, given: Any, /) -> Any:
        """@param given: what came with the word; anything that JSON knows, or C{None}."""


@define(eq=False)
class MessageChannel:
    """
    One end. It knows lines only; whoever has the descriptors gives and takes the bytes.

    @ivar broken: called if the other side does not keep to the form; it is then not to be trusted.
    """

    _write: Callable[[bytes], object]
    _answers: Mapping[str, Answer]
    _broken: Callable[[], object]
    _bytes: bytearray = field(factory=bytearray, init=False)
    _numbers: count[int] = field(factory=count, init=False)
    _asked: dict[int, Deferred[Any]] = field(factory=dict, init=False)
    _is_lost: bool = field(default=False, init=False)
    _log = Logger()

    def tell(self, word: str, given: Any = None) -> None:
        """Say something that needs no answer."""
        self._send({"say": word, "with": given})

    def ask(self, word: str, given: Any = None) -> Deferred[Any]:
        """
        Say something, and wait for what comes of it. Who does not want to wait cancels.

        It fails with L{PeerError}.
        """
        number = next(self._numbers)
        answer: Deferred[Any] = Deferred(lambda _: self._leave(number))
        if self._is_lost:
            answer.errback(PeerError(word))
            return answer
        self._asked[number] = answer
        message = {"say": word, "number": number}
        self._send(message if given is None else {**message, "with": given})
        return answer

    def received(self, data: bytes) -> None:
        """Bytes have come from the other side."""
        self._bytes += data
        while not self._is_lost and (end := self._bytes.find(b"\n")) >= 0:
            line = bytes(self._bytes[:end])
            del self._bytes[: end + 1]
            self._heard(line)
        if len(self._bytes) > LONGEST:
            self._broken()

    def lost(self) -> None:
        """Nothing will come any more."""
        self._is_lost = True
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            answer.errback(PeerError())

    def _leave(self, number: int) -> None:
        self._asked.pop(number, None)

    def _send(self, message: dict[str, Any]) -> None:
        if not self._is_lost:
            self._write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _heard(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            word, number = message.get("say"), message.get("number")
            answer = self._answers[word] if word is not None else None
            hash(message.get("to"))
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            self._broken()
            return
        if answer is None:
            self._answered(message)
        else:
            self._do(answer, message.get("with"), number)

    def _answered(self, message: dict[str, Any]) -> None:
        waiting = self._asked.pop(message.get("to", -1), None)
        if waiting is None:
            return  # nobody waits any more
        if message.get("failed"):
            waiting.errback(PeerError())
        else:
            waiting.callback(message.get("with"))

    def _do(self, answer: Answer, given: Any, number: int | None) -> None:
        def failed(failure: Failure) -> None:
            self._log.failure("another process was not answered", failure, event="workers.failed")
            if number is not None:
                self._send({"to": number, "failed": True})

        def done(result: Any) -> None:
            if number is not None:
                self._send({"to": number, "with": result})

        doing = maybeDeferred(answer, given)
        doing.addCallback(done).addErrback(failed)
