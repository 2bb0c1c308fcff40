"""Messages between two processes, without the processes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.daemon.workers import messages
from authotron.daemon.workers.messages import (
    Action,
    Answer,
    Failed,
    MessageChannel,
    Notification,
    PeerError,
    Question,
    decode,
    encode,
)


class PipeCase(SynchronousTestCase):
    """Two connected channels."""

    def setUp(self) -> None:
        self.heard: list[Any] = []
        self.broken = 0
        self.later: Deferred[Any] = Deferred()
        answers: dict[str, Action] = {
            "note": self.heard.append,
            "count": lambda _: 7,
            "later": lambda _: self.later,
            "fail": lambda _: 1 / 0,
        }
        self.other: MessageChannel = MessageChannel(self.receive, answers, self.breaks)
        self.one: MessageChannel = MessageChannel(self.other.received, {}, self.breaks)

    def receive(self, data: bytes) -> None:
        self.one.received(data)

    def breaks(self) -> None:
        self.broken += 1


class SayingTests(PipeCase):
    """Notifications, questions and answers."""

    def test_notification_carries_its_content(self) -> None:
        """A notification arrives with its content."""
        self.one.notify("note", {"a": [1, 2.5, "ü\n"]})
        self.assertEqual(self.heard, [{"a": [1, 2.5, "ü\n"]}])

    def test_question_is_answered(self) -> None:
        """A question gets the result of the action as its answer."""
        self.assertEqual(self.successResultOf(self.one.ask("count")), 7)

    def test_answers_arrive_in_any_order(self) -> None:
        """Each answer reaches its question, in whatever order answers arrive."""
        first = self.one.ask("later")
        self.assertEqual(self.successResultOf(self.one.ask("count")), 7)
        self.assertNoResult(first)
        self.later.callback("at last")
        self.assertEqual(self.successResultOf(first), "at last")

    def test_lines_arrive_in_pieces(self) -> None:
        """A line is acted on when it is complete, in whatever pieces its bytes arrive."""
        for byte in b'{"say":"note","with":1}\n{"say":"note","with":2}\n':
            self.other.received(bytes([byte]))
        self.assertEqual(self.heard, [1, 2])


class EncodingTests(SynchronousTestCase):
    """Messages as lines of JSON."""

    def test_decoding_reverses_encoding(self) -> None:
        """Each kind of message is one line, and decodes to an equal message."""
        content = {"a": [1, 2.5, None, "ü\n"]}
        for message in (
            Notification("alive", content),
            Question(0, "metrics"),
            Question(7, "invalidate", ["id"]),
            Answer(7, content),
            Answer(0),
            Failed(7),
        ):
            with self.subTest(message):
                line = encode(message)
                self.assertEqual((line.count(b"\n"), line[-1:]), (1, b"\n"))
                self.assertEqual(decode(line), message)


class TroubleTests(PipeCase):
    """Failures, invalid messages and lost channels."""

    def test_failed_action_fails_the_question(self) -> None:
        """An action that fails is logged, and the question fails with PeerError."""
        self.failureResultOf(self.one.ask("fail"), PeerError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lost_channel_fails_all_questions(self) -> None:
        """After the other process has ended, open and new questions fail, and nothing is sent."""
        waiting = self.one.ask("later")
        self.one.lost()
        self.failureResultOf(waiting, PeerError)
        self.failureResultOf(self.one.ask("count"), PeerError)
        self.one.notify("note")
        self.assertEqual(self.heard, [])

    def test_answer_to_a_cancelled_question_is_dropped(self) -> None:
        """The answer to a question that was cancelled is dropped."""
        waiting = self.one.ask("later")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.later.callback(1)
        self.assertEqual(self.broken, 0)

    def test_invalid_message_breaks_the_channel(self) -> None:
        """A line that is not a message, or has an unknown word, breaks the channel."""
        deep, unhashable = b"[" * 100_000, b'{"to":[]}'
        unheard, listed = b'{"say":"unheard of"}', b'{"say":["count"]}'
        for line in (b"{", b"[]", b"7", unheard, listed, b"\xff", deep, unhashable):
            with self.subTest(line):
                before = self.broken
                self.other.received(line + b"\n")
                self.assertEqual(self.broken, before + 1)

    def test_endless_line_breaks_the_channel(self) -> None:
        """A line longer than MAX_LINE bytes breaks the channel."""
        self.patch(messages, "MAX_LINE", 100)
        self.other.received(b"x" * 101)
        self.assertEqual(self.broken, 1)
